package nats

import "fmt"

// Size is what the broker of a fleet needs, by the number of devices. Memory,
// processor and connections are those of one server.
type Size struct {
	// MaxConnections is how many clients a server takes: all devices, and a
	// quarter more for connections that are dead and not yet noticed.
	MaxConnections int
	// HandshakesPerSecond lets the whole fleet come back within a minute.
	HandshakesPerSecond int
	// MemoryMiB is the limit, and the request as well.
	MemoryMiB int
	// MilliCPU is the request. There is no limit: a storm of reconnections ends
	// sooner without.
	MilliCPU int
	// MemoryStoreMiB is for heartbeats, which are kept in memory.
	MemoryStoreMiB int
	// StorageGiB is for everything else.
	StorageGiB int
}

// What the sizes are made of; docs/deploy.md says where it was measured.
const (
	baseMiB            = 256
	connectionKiB      = 100 // 50 measured with TLS, twice for what is on its way
	heartbeatKiB       = 2
	handshakeMicroCPU  = 1350 // of one admission with TLS and the callout
	reconnectSeconds   = 60
	baseMilliCPU       = 250
	baseStorageGiB     = 8
	deviceStorageKiB   = 64
	minimumHandshakes  = 50
	spareConnections   = 100
	baseMemoryStoreMiB = 64
)

// SizeFor returns the size for a fleet on 1 or 3 servers. Of three, two carry
// all devices while one is away.
func SizeFor(devices, replicas int) Size {
	carried := devices
	if replicas > 1 {
		carried = (devices + 1) / 2
	}
	s := Size{
		MaxConnections:      devices + devices/4 + spareConnections,
		HandshakesPerSecond: max(minimumHandshakes, (devices+reconnectSeconds-1)/reconnectSeconds),
		MemoryStoreMiB:      baseMemoryStoreMiB + devices*heartbeatKiB/1024,
		StorageGiB:          baseStorageGiB + (devices*deviceStorageKiB+1<<20-1)>>20,
	}
	s.MemoryMiB = baseMiB + carried*connectionKiB/1024 + s.MemoryStoreMiB
	s.MilliCPU = baseMilliCPU + carried*handshakeMicroCPU/1000/reconnectSeconds
	return s
}

func (s Size) resources() map[string]any {
	memory := fmt.Sprintf("%dMi", s.MemoryMiB)
	return map[string]any{
		"requests": map[string]any{"cpu": fmt.Sprintf("%dm", s.MilliCPU), "memory": memory},
		"limits":   map[string]any{"memory": memory},
	}
}
