package podman

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Defaults of a health check.
const (
	healthInterval = 30 * time.Second
	healthTimeout  = 5 * time.Second
	healthRetries  = 3
)

// plan is a decoded score: what shall be on the host.
type plan struct {
	name       contracts.DeploymentName
	generation uint64
	services   []wanted
	inits      []wanted
	grace      time.Duration
}

// wanted is one container as it shall be.
type wanted struct {
	contracts.PodmanContainer
	kind    string
	hash    string
	timeout time.Duration // of an init container
	spec    engine.Spec
}

func newPlan(workload domain.Workload, score contracts.PodmanV0) plan {
	p := plan{name: workload.Name, generation: workload.Generation, grace: score.Lifecycle.GracePeriod()}
	var initHashes []string
	for _, declared := range score.InitContainers {
		init := newWanted(kindInit, declared.PodmanContainer, score.Lifecycle)
		init.timeout = declared.Timeout()
		init.hash = hashOf(hashed{PodmanContainer: declared.PodmanContainer})
		initHashes = append(initHashes, init.hash)
		p.inits = append(p.inits, init)
	}
	for _, declared := range score.Services {
		service := newWanted(kindService, declared.PodmanContainer, score.Lifecycle)
		service.withService(declared)
		service.hash = hashOf(hashed{
			PodmanContainer: declared.PodmanContainer, Ports: declared.Ports,
			Restart: declared.Restart.OrDefault(), Healthcheck: declared.Healthcheck,
			StopSignal: score.Lifecycle.Signal(), Grace: p.grace, Inits: initHashes,
		})
		p.services = append(p.services, service)
	}
	return p
}

// hashed is what makes a container another one. Its JSON is frozen by a test:
// if it changed, a new agent would restart every container of the fleet. New
// fields need omitempty.
type hashed struct {
	contracts.PodmanContainer
	Ports       []string                `json:"ports,omitempty"`
	Restart     contracts.RestartPolicy `json:"restart,omitempty"`
	Healthcheck *contracts.Healthcheck  `json:"healthcheck,omitempty"`
	StopSignal  string                  `json:"stopSignal,omitempty"`
	Grace       time.Duration           `json:"grace,omitempty"`
	// Inits are the hashes of the init containers: to change one of them is
	// to ask for a fresh set.
	Inits []string `json:"inits,omitempty"`
}

func hashOf(h hashed) string {
	h.PullPolicy = "" // says how to get the image, not what runs
	encoded, _ := json.Marshal(h)
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

func newWanted(kind string, declared contracts.PodmanContainer, lifecycle contracts.Lifecycle) wanted {
	// The score was validated: quantities, ports and volumes can be read.
	milliCPU, _ := declared.Resources.MilliCPU()
	memory, _ := declared.Resources.MemoryBytes()
	spec := engine.Spec{
		Image:       canonical(declared.Image),
		Entrypoint:  declared.Command,
		Cmd:         declared.Args,
		User:        declared.User,
		StopSignal:  lifecycle.Signal(),
		StopTimeout: int(lifecycle.GracePeriod() / time.Second),
		HostConfig: engine.HostConfig{
			Binds:          binds(declared.Volumes),
			RestartPolicy:  engine.RestartPolicy{Name: string(contracts.RestartNever)},
			CapDrop:        []string{"ALL"},
			CapAdd:         declared.CapAdd,
			SecurityOpt:    []string{"no-new-privileges"},
			ReadonlyRootfs: declared.ReadOnly,
			NanoCPUs:       milliCPU * 1e6,
			Memory:         memory,
			PidsLimit:      int64(declared.Resources.Pids),
		},
	}
	for _, name := range slices.Sorted(maps.Keys(declared.Env)) {
		spec.Env = append(spec.Env, name+"="+declared.Env[name])
	}
	if len(declared.Tmpfs) > 0 {
		spec.HostConfig.Tmpfs = map[string]string{}
		for _, target := range declared.Tmpfs {
			spec.HostConfig.Tmpfs[target] = ""
		}
	}
	return wanted{PodmanContainer: declared, kind: kind, spec: spec}
}

func (w *wanted) withService(declared contracts.PodmanService) {
	w.spec.HostConfig.RestartPolicy.Name = string(declared.Restart.OrDefault())
	for _, text := range declared.Ports {
		port, _ := contracts.ParsePort(text)
		if w.spec.ExposedPorts == nil {
			w.spec.ExposedPorts = map[string]struct{}{}
			w.spec.HostConfig.PortBindings = map[string][]engine.PortBinding{}
		}
		inside := strconv.Itoa(int(port.ContainerPort)) + "/" + port.Protocol
		w.spec.ExposedPorts[inside] = struct{}{}
		w.spec.HostConfig.PortBindings[inside] = append(w.spec.HostConfig.PortBindings[inside],
			engine.PortBinding{HostIP: port.HostIP, HostPort: strconv.Itoa(int(port.HostPort))})
	}
	if check := declared.Healthcheck; check != nil {
		w.spec.Healthcheck = &engine.Healthcheck{
			Test:        append([]string{"CMD"}, check.Command...),
			Interval:    orDefault(check.Interval.Std(), healthInterval),
			Timeout:     orDefault(check.Timeout.Std(), healthTimeout),
			StartPeriod: check.StartPeriod.Std(),
			Retries:     orDefault(int(check.Retries), healthRetries),
		}
	}
}

func orDefault[T int | time.Duration](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

func binds(volumes []string) []string {
	var result []string
	for _, text := range volumes {
		volume, _ := contracts.ParseVolume(text)
		bind := volume.Source + ":" + volume.Target
		if volume.ReadOnly {
			bind += ":ro"
		}
		result = append(result, bind)
	}
	return result
}

// marked returns the spec with the labels that make the container ours.
func (r *Runtime) marked(p plan, w wanted, digest string) engine.Spec {
	spec := w.spec
	spec.Labels = map[string]string{
		labelOwner:      r.options.Owner,
		labelDeployment: string(p.name),
		labelService:    w.Name,
		labelKind:       w.kind,
		labelHash:       w.hash,
		labelGeneration: strconv.FormatUint(p.generation, 10),
		labelImage:      w.Image,
		labelDigest:     digest,
	}
	if info, ok := r.client.Known(); ok {
		spec.HostConfig.LogConfig = boundedLog(info.LogDriver)
	}
	return spec
}

// boundedLog keeps a log file from filling the disk, where the engine's default
// is a file without bound. A journal has bounds of its own.
func boundedLog(driver string) *engine.LogConfig {
	switch driver {
	case "json-file":
		return &engine.LogConfig{Type: driver, Config: map[string]string{"max-size": "10m", "max-file": "3"}}
	case "k8s-file":
		return &engine.LogConfig{Type: driver, Config: map[string]string{"max-size": "10m"}}
	default:
		return nil
	}
}
