package contracts

import "time"

// PodmanV0 runs containers on the device's container engine.
type PodmanV0 struct {
	Services []PodmanService `json:"services"`
	// InitContainers run to completion, in order, before a fresh set of
	// services is started.
	InitContainers []InitContainer `json:"initContainers,omitempty"`
	Lifecycle      Lifecycle       `json:"lifecycle,omitzero"`
}

// PodmanContainer is what services and init containers have in common.
type PodmanContainer struct {
	Name string `json:"name"`
	// Image is a reference, best with a digest; without a tag and a digest the
	// engine takes the tag "latest".
	Image string `json:"image"`
	// PullPolicy is "missing" (default), "always" or "never".
	PullPolicy PullPolicy `json:"pullPolicy,omitempty"`
	// Command replaces the image's entrypoint, Args its command.
	Command Command           `json:"command,omitempty"`
	Args    []string          `json:"args,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	// Volumes are "source:/target[:ro]"; a source that begins with '/' is a
	// directory of the host, any other a named volume.
	Volumes []string `json:"volumes,omitempty"`
	// Tmpfs are absolute paths of in-memory file systems.
	Tmpfs []string `json:"tmpfs,omitempty"`
	// User is "user[:group]", by name or number.
	User string `json:"user,omitempty"`
	// CapAdd are capabilities kept; all others are dropped.
	CapAdd []string `json:"capAdd,omitempty"`
	// ReadOnly makes the container's root file system read-only.
	ReadOnly  bool      `json:"readOnly,omitempty"`
	Resources Resources `json:"resources,omitzero"`
}

// PodmanService is one long-running container.
type PodmanService struct {
	PodmanContainer
	// Ports are "[hostIP:]hostPort:containerPort[/tcp|udp]".
	Ports       []string      `json:"ports,omitempty"`
	Restart     RestartPolicy `json:"restart,omitempty"`
	Healthcheck *Healthcheck  `json:"healthcheck,omitempty"`
}

// InitContainer is one container that runs to completion.
type InitContainer struct {
	PodmanContainer
	// TimeoutSeconds is 1 to 86400; default 300.
	TimeoutSeconds uint32 `json:"timeoutSeconds,omitempty"`
}

// Timeout returns the timeout, the default applied.
func (c InitContainer) Timeout() time.Duration {
	if c.TimeoutSeconds == 0 {
		return DefaultInitTimeout
	}
	return time.Duration(c.TimeoutSeconds) * time.Second
}

// PullPolicy says when an image is pulled. The empty policy is PullMissing.
type PullPolicy string

// Pull policies.
const (
	PullMissing PullPolicy = "missing"
	PullAlways  PullPolicy = "always"
	PullNever   PullPolicy = "never"
)

// Resources bound a container; zero values are unbounded.
type Resources struct {
	// CPU is in cores: "0.5", or in thousandths: "500m".
	CPU string `json:"cpu,omitempty"`
	// Memory is in bytes, with an optional suffix K, M, G, Ki, Mi or Gi.
	Memory string `json:"memory,omitempty"`
	// Pids is the most processes and threads.
	Pids uint32 `json:"pids,omitempty"`
}

// Healthcheck runs a command inside the container.
type Healthcheck struct {
	Command Command `json:"command"`
	// Interval between checks, default 30s.
	Interval Duration `json:"interval,omitempty"`
	// Timeout of one check, default 5s.
	Timeout Duration `json:"timeout,omitempty"`
	// StartPeriod in which failures do not count, default 0s.
	StartPeriod Duration `json:"startPeriod,omitempty"`
	// Retries before the service is unhealthy, default 3.
	Retries uint32 `json:"retries,omitempty"`
}

// Validate checks names, references, ports, volumes and bounds. A text that
// holds a {{ template }} passes until it is expanded.
func (p PodmanV0) Validate() error {
	if len(p.Services) == 0 {
		return invalid("services", "must hold at least one service")
	}
	services, inits := make([]string, len(p.Services)), make([]string, len(p.InitContainers))
	for i, service := range p.Services {
		services[i] = service.Name
	}
	for i, container := range p.InitContainers {
		inits[i] = container.Name
	}
	seen := map[string]bool{}
	if err := checkNames("services", services, seen); err != nil {
		return err
	}
	if err := checkNames("initContainers", inits, seen); err != nil {
		return err
	}
	for i, service := range p.Services {
		if err := service.validate(); err != nil {
			return inItem("services", i, err)
		}
	}
	for i, container := range p.InitContainers {
		if err := container.validate(); err != nil {
			return inItem("initContainers", i, err)
		}
		if container.TimeoutSeconds > 86400 {
			return inItem("initContainers", i, invalid("timeoutSeconds", "must be at most 86400"))
		}
	}
	if err := checkHostPorts(p.Services); err != nil {
		return err
	}
	return in("lifecycle", p.Lifecycle.Validate())
}

func (s PodmanService) validate() error {
	if err := s.PodmanContainer.validate(); err != nil {
		return err
	}
	for i, port := range s.Ports {
		if templated(port) {
			continue
		}
		if _, err := ParsePort(port); err != nil {
			return inItem("ports", i, err)
		}
	}
	if err := s.Restart.Validate(); err != nil {
		return in("restart", err)
	}
	if s.Healthcheck == nil {
		return nil
	}
	return in("healthcheck", s.Healthcheck.validate())
}

func (c PodmanContainer) validate() error {
	if err := checkImage(c.Image); err != nil {
		return in("image", err)
	}
	switch c.PullPolicy {
	case "", PullMissing, PullAlways, PullNever:
	default:
		return invalid("pullPolicy", "%q is unknown: use missing, always or never", c.PullPolicy)
	}
	if len(c.Command) > 0 {
		if err := c.Command.checkProgram(); err != nil {
			return in("command", err)
		}
	}
	if err := Command(c.Args).Validate(); err != nil {
		return in("args", err)
	}
	if err := checkEnv(c.Env); err != nil {
		return in("env", err)
	}
	for i, volume := range c.Volumes {
		if templated(volume) {
			continue
		}
		if _, err := ParseVolume(volume); err != nil {
			return inItem("volumes", i, err)
		}
	}
	for i, target := range c.Tmpfs {
		if !templated(target) && !isCleanAbsolute(target) {
			return inItem("tmpfs", i, invalid("", "%q must be an absolute path without \":\", \",\", \"..\" or a '/' at its end", target))
		}
	}
	for i, capability := range c.CapAdd {
		if !isEnvName(capability) {
			return inItem("capAdd", i, invalid("", "%q is not a capability's name, such as NET_BIND_SERVICE", capability))
		}
	}
	return in("resources", c.Resources.Validate())
}

func (h Healthcheck) validate() error {
	if err := h.Command.checkProgram(); err != nil {
		return in("command", err)
	}
	if err := checkDuration("interval", h.Interval, 0, 24*time.Hour); err != nil {
		return err
	}
	if err := checkDuration("timeout", h.Timeout, 0, time.Hour); err != nil {
		return err
	}
	if h.Retries > 100 {
		return invalid("retries", "must be at most 100")
	}
	return checkDuration("startPeriod", h.StartPeriod, 0, 24*time.Hour)
}
