package contracts

import "time"

// maxText bounds short free texts, in bytes.
const maxText = 256

// DeviceInfo is what a device says about itself, sent when it starts, when it
// connects and when something in it changes.
type DeviceInfo struct {
	// Labels are self-asserted. They reach selectors only below
	// ReportedLabelPrefix, and their keys must have no prefix of their own.
	Labels       Labels    `json:"labels,omitempty"`
	AgentVersion string    `json:"agentVersion"`
	Inventory    Inventory `json:"inventory"`
	// BootID changes with every boot of the host.
	BootID string `json:"bootID,omitempty"`
	// StartedAt is when the agent's process started, in the device's clock.
	StartedAt time.Time `json:"startedAt"`
}

// Inventory is the device's hardware and system. Texts have at most 256 bytes:
// writers Clip what they find.
type Inventory struct {
	Hostname     string `json:"hostname,omitempty"`
	OS           string `json:"os,omitempty"`
	Kernel       string `json:"kernel,omitempty"`
	Architecture string `json:"architecture,omitempty"`
	CPUs         int    `json:"cpus,omitempty"`
	MemoryBytes  int64  `json:"memoryBytes,omitempty"`
	DiskBytes    int64  `json:"diskBytes,omitempty"`
	MachineID    string `json:"machineID,omitempty"`
	Serial       string `json:"serial,omitempty"`
	Model        string `json:"model,omitempty"`
	// Runtimes are the workload runtimes, such as "podman 4.3.1".
	Runtimes []string `json:"runtimes,omitempty"`
}

// Validate checks labels, version and the length of texts.
func (i DeviceInfo) Validate() error {
	if err := i.Labels.Validate(); err != nil {
		return in("labels", err)
	}
	if err := checkVersion("agentVersion", i.AgentVersion); err != nil {
		return err
	}
	if err := checkText("bootID", i.BootID, maxNameLength); err != nil {
		return err
	}
	return in("inventory", i.Inventory.validate())
}

func (i Inventory) validate() error {
	texts := []struct{ field, value string }{
		{"hostname", i.Hostname},
		{"os", i.OS},
		{"kernel", i.Kernel},
		{"architecture", i.Architecture},
		{"machineID", i.MachineID},
		{"serial", i.Serial},
		{"model", i.Model},
	}
	for _, text := range texts {
		if err := checkText(text.field, text.value, maxText); err != nil {
			return err
		}
	}
	sizes := []struct {
		field string
		value int64
	}{
		{"cpus", int64(i.CPUs)},
		{"memoryBytes", i.MemoryBytes},
		{"diskBytes", i.DiskBytes},
	}
	for _, size := range sizes {
		if size.value < 0 {
			return invalid(size.field, "must not be negative")
		}
	}
	if len(i.Runtimes) > 8 {
		return invalid("runtimes", "has %d entries, at most 8 are allowed", len(i.Runtimes))
	}
	for n, runtime := range i.Runtimes {
		if err := checkText("", runtime, maxText); err != nil {
			return inItem("runtimes", n, err)
		}
	}
	return nil
}
