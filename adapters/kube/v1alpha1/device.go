package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Conditions of a Device.
const (
	// DeviceOnline: it was heard of lately. When that changed is when it came or
	// fell silent.
	DeviceOnline = "Online"
	// DeviceReady: it is online and runs what it should.
	DeviceReady = "Ready"
)

// Device shows one device of the fleet. It is written by fleet-operator alone:
// edits and deletions are put back. Its labels are those that selectors see.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=fleetdev,categories=fleet
// +kubebuilder:printcolumn:name="Online",type=string,JSONPath=`.status.conditions[?(@.type=="Online")].status`
// +kubebuilder:printcolumn:name="Since",type=date,JSONPath=`.status.conditions[?(@.type=="Online")].lastTransitionTime`
// +kubebuilder:printcolumn:name="Workloads",type=string,JSONPath=`.status.workloads`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Agent",type=string,JSONPath=`.status.agentVersion`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Arch",type=string,priority=1,JSONPath=`.status.inventory.architecture`
// +kubebuilder:printcolumn:name="Model",type=string,priority=1,JSONPath=`.status.inventory.model`
// +kubebuilder:printcolumn:name="Hostname",type=string,priority=1,JSONPath=`.status.inventory.hostname`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type Device struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   DeviceSpec   `json:"spec,omitempty"`
	Status DeviceStatus `json:"status,omitempty"`
}

// DeviceList is a list of devices.
//
// +kubebuilder:object:root=true
type DeviceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Device `json:"items"`
}

// DeviceSpec is what people and the enrollment decided about a device. It is
// changed with the fleet command, not here.
type DeviceSpec struct {
	// Revoked devices may not connect and take part in no rollout.
	// +optional
	Revoked bool `json:"revoked,omitempty"`
	// Enrolled devices have a key of their own.
	// +optional
	Enrolled bool `json:"enrolled,omitempty"`
	// RegisteredAt is when the device was registered.
	// +optional
	RegisteredAt *metav1.Time `json:"registeredAt,omitempty"`
}

// DeviceStatus is what is known about a device from what it said. Signs of life
// are not written here; only transitions are.
type DeviceStatus struct {
	// ObservedGeneration is the generation of this resource that the status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Workloads is how many of its deployments run, such as 2/3.
	// +optional
	Workloads string `json:"workloads,omitempty"`
	// AgentVersion is the version of fleet-agent on the device.
	// +optional
	AgentVersion string `json:"agentVersion,omitempty"`
	// Inventory is the device's hardware and system, by its own word.
	// +optional
	Inventory *Inventory `json:"inventory,omitempty"`
	// Deployments are what the device runs.
	// +optional
	// +listType=map
	// +listMapKey=name
	Deployments []DeviceDeployment `json:"deployments,omitempty"`
	// Refused is the last desired state that the device did not accept.
	// +optional
	Refused *Refusal `json:"refused,omitempty"`
	// Upgrade is how far an upgrade of the agent is.
	// +optional
	Upgrade *Upgrade `json:"upgrade,omitempty"`
	// Conditions are Online and Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Inventory is a device's hardware and system.
type Inventory struct {
	// +optional
	Hostname string `json:"hostname,omitempty"`
	// +optional
	OS string `json:"os,omitempty"`
	// +optional
	Kernel string `json:"kernel,omitempty"`
	// +optional
	Architecture string `json:"architecture,omitempty"`
	// +optional
	CPUs int64 `json:"cpus,omitempty"`
	// +optional
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	// +optional
	DiskBytes int64 `json:"diskBytes,omitempty"`
	// +optional
	MachineID string `json:"machineID,omitempty"`
	// +optional
	Serial string `json:"serial,omitempty"`
	// +optional
	Model string `json:"model,omitempty"`
	// Runtimes are the workload runtimes, such as podman 5.4.2.
	// +optional
	// +listType=atomic
	Runtimes []string `json:"runtimes,omitempty"`
}

// DeviceDeployment is one deployment on one device.
type DeviceDeployment struct {
	Name string `json:"name"`
	// Generation is that of the deployment's spec, as the fleet counts it.
	Generation int64 `json:"generation"`
	// Phase is Pending, Running, Degraded, Failed or Removing.
	Phase string `json:"phase"`
	// +optional
	Reason string `json:"reason,omitempty"`
	// +optional
	Message string `json:"message,omitempty"`
}

// Refusal is a desired state that a device did not accept.
type Refusal struct {
	Reason string `json:"reason"`
	// +optional
	Generation int64 `json:"generation,omitempty"`
	// +optional
	Message string `json:"message,omitempty"`
}

// Upgrade is how far an upgrade of the agent is, and to which version.
type Upgrade struct {
	Phase   string `json:"phase"`
	Version string `json:"version"`
	// +optional
	Message string `json:"message,omitempty"`
}
