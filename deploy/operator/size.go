package operator

import "fmt"

// Size is what one operator needs, by the number of devices.
type Size struct {
	// MemoryMiB is the request, and twice that the limit.
	MemoryMiB int
	// MilliCPU is the request; there is no limit.
	MilliCPU int
}

// What the sizes are made of; docs/deploy.md says where it was measured.
const (
	baseMiB        = 96 // 68 measured with Kubernetes and 100 devices
	deviceKiB      = 10 // 8.5 measured with Kubernetes
	baseMilliCPU   = 100
	deviceMicroCPU = 3 // 45 µs for a heartbeat every 30 s, and as much for the rest
)

// SizeFor returns the size for a fleet. Each operator has it, since each can
// lead.
func SizeFor(devices int) Size {
	return Size{MemoryMiB: baseMiB + devices*deviceKiB/1024, MilliCPU: baseMilliCPU + devices*deviceMicroCPU/1000}
}

func (s Size) resources() map[string]any {
	return map[string]any{
		"requests": map[string]any{"cpu": fmt.Sprintf("%dm", s.MilliCPU), "memory": fmt.Sprintf("%dMi", s.MemoryMiB)},
		"limits":   map[string]any{"memory": fmt.Sprintf("%dMi", 2*s.MemoryMiB)},
	}
}
