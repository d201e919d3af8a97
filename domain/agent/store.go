package agent

import (
	"bytes"
	"slices"
	"sync"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Store keeps what must survive a restart of the agent. A write that returned
// nil survives a power cut; one that was cut short leaves what was there before.
// Safe for concurrent use. Nothing in it is trusted because of where it is.
type Store interface {
	// LoadDesired returns the encoded envelope saved last, nil when there is none
	// that can be read.
	LoadDesired() ([]byte, error)
	// SaveDesired replaces the envelope.
	SaveDesired(envelope []byte) error
	// LoadReport returns the report saved last, the zero report when there is none
	// that can be read.
	LoadReport() (contracts.DeviceReport, error)
	// SaveReport replaces the report.
	SaveReport(report contracts.DeviceReport) error
}

// MemoryStore is a Store for simulations. It outlives the agents that use it, as
// a disk does.
type MemoryStore struct {
	mu      sync.Mutex
	desired []byte
	report  contracts.DeviceReport
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore { return &MemoryStore{} }

// LoadDesired implements Store.
func (s *MemoryStore) LoadDesired() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.desired), nil
}

// SaveDesired implements Store.
func (s *MemoryStore) SaveDesired(envelope []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.desired = bytes.Clone(envelope)
	return nil
}

// LoadReport implements Store.
func (s *MemoryStore) LoadReport() (contracts.DeviceReport, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cloneReport(s.report), nil
}

// SaveReport implements Store.
func (s *MemoryStore) SaveReport(report contracts.DeviceReport) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report = cloneReport(report)
	return nil
}

// cloneReport copies what the agent might change in place: the lists of services
// and what pointers lead to are never written to once reported.
func cloneReport(report contracts.DeviceReport) contracts.DeviceReport {
	report.Deployments = slices.Clone(report.Deployments)
	return report
}
