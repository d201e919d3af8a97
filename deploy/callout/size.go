package callout

import "fmt"

// Size is what the callout of a fleet needs, by the number of devices. Processor
// and memory are those of one instance.
type Size struct {
	Replicas int
	// MilliCPU is the request: all devices come back within a minute while one
	// instance is away. There is no limit.
	MilliCPU int
	// MemoryMiB is the limit, and the request as well.
	MemoryMiB int
}

// What the sizes are made of; docs/deploy.md says where it was measured.
const (
	admissionMicroCPU = 1350 // with the broker's share of it
	reconnectSeconds  = 60
	baseMilliCPU      = 100
	baseMemoryMiB     = 128
	deviceMemoryKiB   = 4 // each instance follows the whole registry
	manyDevices       = 30_000
)

// SizeFor returns the size for a fleet, on 2 or 3 instances if replicas is 0.
func SizeFor(devices, replicas int) Size {
	if replicas == 0 {
		replicas = 2
		if devices > manyDevices {
			replicas = 3
		}
	}
	carrying := max(1, replicas-1)
	return Size{
		Replicas:  replicas,
		MilliCPU:  baseMilliCPU + devices*admissionMicroCPU/1000/reconnectSeconds/carrying,
		MemoryMiB: baseMemoryMiB + devices*deviceMemoryKiB/1024,
	}
}

func (s *FleetCalloutScore) size() Size { return SizeFor(s.Devices, s.Replicas) }

func (s Size) resources() map[string]any {
	memory := fmt.Sprintf("%dMi", s.MemoryMiB)
	return map[string]any{
		"requests": map[string]any{"cpu": fmt.Sprintf("%dm", s.MilliCPU), "memory": memory},
		"limits":   map[string]any{"memory": memory},
	}
}
