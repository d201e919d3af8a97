// Package show turns what is known of a fleet into what people and scripts
// read. The structs are the documented shape of -o json and -o yaml.
package show

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/live"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DeviceStatus says at a glance how a device is.
type DeviceStatus string

// The statuses of a device.
const (
	DeviceOnline       DeviceStatus = "Online"
	DeviceOffline      DeviceStatus = "Offline"
	DeviceNeverSeen    DeviceStatus = "NeverSeen"
	DeviceRevoked      DeviceStatus = "Revoked"
	DeviceUnregistered DeviceStatus = "Unregistered"
	// DeviceDeleted is shown by a watch alone.
	DeviceDeleted DeviceStatus = "Deleted"
)

// DeviceStatuses returns all statuses, the healthy one first.
func DeviceStatuses() []DeviceStatus {
	return []DeviceStatus{DeviceOnline, DeviceOffline, DeviceNeverSeen, DeviceRevoked, DeviceUnregistered}
}

// Device is one device.
type Device struct {
	Name   string       `json:"name"`
	Status DeviceStatus `json:"status"`
	// Labels are those that selectors see: people's, the device's own, and the
	// system's.
	Labels            map[string]string  `json:"labels"`
	LastSeen          *time.Time         `json:"lastSeen,omitempty"`
	RegisteredAt      *time.Time         `json:"registeredAt,omitempty"`
	AgentVersion      string             `json:"agentVersion,omitempty"`
	AppliedGeneration uint64             `json:"appliedGeneration,omitempty"`
	StartedAt         *time.Time         `json:"startedAt,omitempty"`
	BootID            string             `json:"bootID,omitempty"`
	Inventory         *Inventory         `json:"inventory,omitempty"`
	Deployments       []DeviceDeployment `json:"deployments"`
	Refused           *Refusal           `json:"refused,omitempty"`
	Upgrade           *Upgrade           `json:"upgrade,omitempty"`
}

// Inventory is a device's hardware and system.
type Inventory struct {
	Hostname     string   `json:"hostname,omitempty"`
	OS           string   `json:"os,omitempty"`
	Kernel       string   `json:"kernel,omitempty"`
	Architecture string   `json:"architecture,omitempty"`
	CPUs         int      `json:"cpus,omitempty"`
	MemoryBytes  int64    `json:"memoryBytes,omitempty"`
	DiskBytes    int64    `json:"diskBytes,omitempty"`
	Model        string   `json:"model,omitempty"`
	Serial       string   `json:"serial,omitempty"`
	MachineID    string   `json:"machineID,omitempty"`
	Runtimes     []string `json:"runtimes,omitempty"`
}

// DeviceDeployment is one deployment on one device, as the device said last.
type DeviceDeployment struct {
	Name       string    `json:"name"`
	Generation uint64    `json:"generation"`
	Phase      string    `json:"phase"`
	Reason     string    `json:"reason,omitempty"`
	Message    string    `json:"message,omitempty"`
	Since      time.Time `json:"since"`
	Services   []Service `json:"services,omitempty"`
}

// Service is one service of a deployment on one device.
type Service struct {
	Name        string `json:"name"`
	State       string `json:"state"`
	Image       string `json:"image,omitempty"`
	ImageDigest string `json:"imageDigest,omitempty"`
	Restarts    uint64 `json:"restarts"`
	ExitCode    *int   `json:"exitCode,omitempty"`
	PID         int    `json:"pid,omitempty"`
}

// Refusal is a desired state that a device did not accept.
type Refusal struct {
	Reason     string `json:"reason"`
	Generation uint64 `json:"generation,omitempty"`
	Message    string `json:"message,omitempty"`
}

// Upgrade is how far an upgrade of the agent is.
type Upgrade struct {
	Phase   string `json:"phase"`
	Version string `json:"version"`
	Message string `json:"message,omitempty"`
}

// Clock is the time, and what silence means.
type Clock struct {
	Now time.Time
	// HeartbeatInterval is that of the fleet's operator.
	HeartbeatInterval time.Duration
}

// Devices returns all devices of a snapshot, registered or heard of, by name.
func Devices(snapshot *live.Snapshot, clock Clock) []Device {
	var all []Device
	for id, registered := range snapshot.Devices {
		all = append(all, device(&registered, snapshot.State.Device(id), clock))
	}
	for _, id := range snapshot.State.Devices() {
		if _, ok := snapshot.Devices[id]; !ok {
			all = append(all, device(nil, snapshot.State.Device(id), clock))
		}
	}
	slices.SortFunc(all, func(a, b Device) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func device(registered *domain.FleetDevice, state domain.DeviceState, clock Clock) Device {
	d := Device{
		Name:              string(state.ID),
		AgentVersion:      state.Heartbeat.AgentVersion,
		AppliedGeneration: state.AppliedGeneration(),
		LastSeen:          timeOrNil(state.SeenAt),
		Deployments:       []DeviceDeployment{},
	}
	var peoples contracts.Labels
	if registered != nil {
		peoples = registered.Labels
		d.RegisteredAt = timeOrNil(registered.RegisteredAt)
	}
	d.Labels = maps.Clone(contracts.EffectiveLabels(state.ID, peoples, state.ReportedLabels()))
	switch {
	case registered == nil:
		d.Status = DeviceUnregistered
	case registered.Revoked:
		d.Status = DeviceRevoked
	case state.SeenAt.IsZero():
		d.Status = DeviceNeverSeen
	case state.Online(clock.Now, clock.HeartbeatInterval):
		d.Status = DeviceOnline
	default:
		d.Status = DeviceOffline
	}
	if state.Info != nil {
		d.addInfo(*state.Info)
	}
	if state.Report != nil {
		d.addReport(*state.Report)
	}
	return d
}

func (d *Device) addInfo(info contracts.DeviceInfo) {
	d.AgentVersion = cmp.Or(d.AgentVersion, info.AgentVersion)
	d.StartedAt = timeOrNil(info.StartedAt)
	d.BootID = info.BootID
	i := info.Inventory
	d.Inventory = &Inventory{
		Hostname: i.Hostname, OS: i.OS, Kernel: i.Kernel, Architecture: i.Architecture, CPUs: i.CPUs,
		MemoryBytes: i.MemoryBytes, DiskBytes: i.DiskBytes, Model: i.Model, Serial: i.Serial,
		MachineID: i.MachineID, Runtimes: i.Runtimes,
	}
}

func (d *Device) addReport(report contracts.DeviceReport) {
	for _, r := range report.Deployments {
		deployment := DeviceDeployment{
			Name: string(r.Name), Generation: r.Generation, Phase: string(r.Phase),
			Reason: string(r.Reason), Message: r.Message, Since: r.Since.UTC(),
		}
		for _, s := range r.Services {
			deployment.Services = append(deployment.Services, Service{
				Name: s.Name, State: string(s.State), Image: s.Image, ImageDigest: s.ImageDigest,
				Restarts: s.Restarts, ExitCode: s.ExitCode, PID: s.PID,
			})
		}
		d.Deployments = append(d.Deployments, deployment)
	}
	if r := report.Refused; r != nil {
		d.Refused = &Refusal{Reason: string(r.Reason), Generation: r.Generation, Message: r.Message}
	}
	if u := report.Upgrade; u != nil {
		d.Upgrade = &Upgrade{Phase: string(u.Phase), Version: u.Version, Message: u.Message}
	}
}

// Running counts the deployments that run, and those that should.
func (d Device) Running() (running, total int) {
	for _, deployment := range d.Deployments {
		switch contracts.Phase(deployment.Phase) {
		case contracts.PhaseRunning:
			running++
			total++
		case contracts.PhasePending, contracts.PhaseDegraded, contracts.PhaseFailed:
			total++
		case contracts.PhaseRemoving:
		}
	}
	return running, total
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
