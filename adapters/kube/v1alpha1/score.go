package v1alpha1

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

// Score says what to run on each device. Texts may hold {{ .device.id }} and
// {{ .device.labels.KEY }}.
//
// +kubebuilder:validation:XValidation:rule="self.type != 'PodmanV0' || self.data.services.all(s, has(s.image))",message="each service of a PodmanV0 score needs an image"
// +kubebuilder:validation:XValidation:rule="self.type != 'PodmanV0' || self.data.services.all(s, !has(s.dir))",message="dir is a field of ProcessV0 services alone"
// +kubebuilder:validation:XValidation:rule="self.type != 'ProcessV0' || (!has(self.data.initContainers) && self.data.services.all(s, !has(s.image) && !has(s.pullPolicy) && !has(s.ports) && !has(s.volumes) && !has(s.tmpfs) && !has(s.user) && !has(s.capAdd) && !has(s.readOnly) && !has(s.resources) && !has(s.healthcheck)))",message="a ProcessV0 service has name, command, args, env, dir and restart alone, and there are no initContainers"
type Score struct {
	// +kubebuilder:validation:Enum=PodmanV0;ProcessV0
	Type string    `json:"type"`
	Data ScoreData `json:"data"`
}

// ScoreData is what to run, in the form that the score's type asks for.
//
// +kubebuilder:validation:XValidation:rule="!has(self.initContainers) || self.initContainers.all(c, self.services.all(s, s.name != c.name))",message="services and initContainers must have different names"
type ScoreData struct {
	// Services run until they are removed.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	Services []Service `json:"services"`
	// InitContainers run to completion, in order, before a fresh set of services
	// is started.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	InitContainers []InitContainer `json:"initContainers,omitempty"`
	// +optional
	Lifecycle *Lifecycle `json:"lifecycle,omitempty"`
}

// Name is a DNS-1123 label.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
type Name string

// Image is a reference such as registry.example/web:1.2, best with a digest.
//
// +kubebuilder:validation:Pattern=`\{\{|^[A-Za-z0-9][A-Za-z0-9._/:-]*(@sha256:[0-9a-f]{64})?$`
type Image string

// Volume is source:/target[:ro]; the source is a directory of the host or a
// volume's name.
//
// +kubebuilder:validation:Pattern=`\{\{|^(/|(/([^/,:.][^/,:]*|\.[^/,:.][^/,:]*|\.\.[^/,:]+))+|([A-Za-z0-9][A-Za-z0-9_.-]{0,61})?[A-Za-z0-9]):(/([^/,:.][^/,:]*|\.[^/,:.][^/,:]*|\.\.[^/,:]+))+(:(ro|rw))?$`
type Volume string

// Path is absolute.
//
// +kubebuilder:validation:Pattern=`\{\{|^(/|(/([^/,:.][^/,:]*|\.[^/,:.][^/,:]*|\.\.[^/,:]+))+)$`
type Path string

// Port is [hostIP:]hostPort:containerPort[/tcp|udp].
//
// +kubebuilder:validation:Pattern=`\{\{|^(([0-9.]+|\[[0-9A-Fa-f:.]+\]):)?[0-9]+:[0-9]+(/(tcp|udp))?$`
type Port string

// Capability is a Linux capability, such as NET_BIND_SERVICE.
//
// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
type Capability string

// PullPolicy is missing (default), always or never.
//
// +kubebuilder:validation:Enum="";missing;always;never
type PullPolicy string

// RestartPolicy is always (default), on-failure or no.
//
// +kubebuilder:validation:Enum="";always;on-failure;no
type RestartPolicy string

// Service is one container or process. Which fields it may have depends on the
// score's type.
type Service struct {
	Name Name `json:"name"`
	// +optional
	Image Image `json:"image,omitempty"`
	// +optional
	PullPolicy PullPolicy `json:"pullPolicy,omitempty"`
	// Command is a list of texts, or one text.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Command *apiextensionsv1.JSON `json:"command,omitempty"`
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Args []string `json:"args,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	Env map[string]string `json:"env,omitempty"`
	// +optional
	// +listType=atomic
	Ports []Port `json:"ports,omitempty"`
	// +optional
	// +listType=atomic
	Volumes []Volume `json:"volumes,omitempty"`
	// +optional
	// +listType=atomic
	Tmpfs []Path `json:"tmpfs,omitempty"`
	// +optional
	User string `json:"user,omitempty"`
	// +optional
	// +listType=atomic
	CapAdd []Capability `json:"capAdd,omitempty"`
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`
	// +optional
	Resources *Resources `json:"resources,omitempty"`
	// +optional
	Restart RestartPolicy `json:"restart,omitempty"`
	// +optional
	Healthcheck *Healthcheck `json:"healthcheck,omitempty"`
	// Dir is the working directory of a process.
	// +optional
	// +kubebuilder:validation:Pattern=`^$|\{\{|^/`
	Dir string `json:"dir,omitempty"`
}

// InitContainer is one container that runs to completion.
type InitContainer struct {
	Name  Name  `json:"name"`
	Image Image `json:"image"`
	// +optional
	PullPolicy PullPolicy `json:"pullPolicy,omitempty"`
	// Command is a list of texts, or one text.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Command *apiextensionsv1.JSON `json:"command,omitempty"`
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Args []string `json:"args,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	Env map[string]string `json:"env,omitempty"`
	// +optional
	// +listType=atomic
	Volumes []Volume `json:"volumes,omitempty"`
	// +optional
	// +listType=atomic
	Tmpfs []Path `json:"tmpfs,omitempty"`
	// +optional
	User string `json:"user,omitempty"`
	// +optional
	// +listType=atomic
	CapAdd []Capability `json:"capAdd,omitempty"`
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`
	// +optional
	Resources *Resources `json:"resources,omitempty"`
	// TimeoutSeconds is 300 when not set.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=86400
	TimeoutSeconds int64 `json:"timeoutSeconds,omitempty"`
}

// Resources bound a container.
type Resources struct {
	// CPU is in cores, 0.5, or thousandths, 500m.
	// +optional
	// +kubebuilder:validation:Pattern=`^$|\{\{|^[0-9.]+m?$`
	CPU string `json:"cpu,omitempty"`
	// Memory is in bytes, with an optional suffix K, M, G, Ki, Mi or Gi.
	// +optional
	// +kubebuilder:validation:Pattern=`^$|\{\{|^[0-9]+([KMG]i?)?$`
	Memory string `json:"memory,omitempty"`
	// Pids is the most processes and threads.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	Pids int64 `json:"pids,omitempty"`
}

// Healthcheck runs a command inside the container.
type Healthcheck struct {
	// Command is a list of texts, or one text.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Command *apiextensionsv1.JSON `json:"command"`
	// +optional
	Interval Duration `json:"interval,omitempty"`
	// +optional
	Timeout Duration `json:"timeout,omitempty"`
	// +optional
	StartPeriod Duration `json:"startPeriod,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Retries int64 `json:"retries,omitempty"`
}

// Lifecycle says how services are stopped.
type Lifecycle struct {
	// +optional
	// +kubebuilder:validation:Enum="";SIGTERM;SIGINT;SIGQUIT;SIGHUP;SIGUSR1;SIGUSR2;SIGWINCH;SIGKILL
	StopSignal string `json:"stopSignal,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	GracePeriodSeconds *int64 `json:"gracePeriodSeconds,omitempty"`
}
