package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

// Recorder watches the seams of a fleet for what must never happen. It is safe
// for concurrent use.
type Recorder struct {
	mu sync.Mutex
	// last is the newest stored document of each device.
	last map[contracts.DeviceID]stored
	// assigned holds every (device, deployment, generation) ever stored.
	assigned   map[assignment]bool
	disks      map[contracts.DeviceID]agent.Store
	violations []string
	writes     int
}

// stored is a stored document: as it is, without its generation, and the
// generation.
type stored struct {
	envelope   []byte
	content    []byte
	generation uint64
}

type assignment struct {
	device     contracts.DeviceID
	deployment contracts.DeploymentName
	generation uint64
}

// NewRecorder returns a recorder that has seen nothing.
func NewRecorder() *Recorder {
	return &Recorder{
		last:     map[contracts.DeviceID]stored{},
		assigned: map[assignment]bool{},
		disks:    map[contracts.DeviceID]agent.Store{},
	}
}

// Violations returns what happened that must not.
func (r *Recorder) Violations() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.violations
}

// Writes returns how many documents were stored or removed.
func (r *Recorder) Writes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writes
}

func (r *Recorder) violate(format string, args ...any) {
	r.violations = append(r.violations, fmt.Sprintf(format, args...))
}

// Publisher watches what the operator stores.
func (r *Recorder) Publisher(next domain.DesiredStatePublisher) domain.DesiredStatePublisher {
	return &recordedPublisher{DesiredStatePublisher: next, recorder: r}
}

type recordedPublisher struct {
	domain.DesiredStatePublisher
	recorder *Recorder
}

func (p *recordedPublisher) Publish(ctx context.Context, documents []domain.DesiredDocument) []domain.PublishResult {
	// What is offered may run from now on, even when the answer gets lost.
	for _, document := range documents {
		p.recorder.offered(document)
	}
	results := p.DesiredStatePublisher.Publish(ctx, documents)
	for i, result := range results {
		if result.Err == nil {
			p.recorder.stored(documents[i])
		}
	}
	return results
}

func (p *recordedPublisher) Remove(ctx context.Context, device contracts.DeviceID, revision domain.Revision) error {
	err := p.DesiredStatePublisher.Remove(ctx, device, revision)
	if err == nil {
		p.recorder.mu.Lock()
		defer p.recorder.mu.Unlock()
		delete(p.recorder.last, device)
		p.recorder.writes++
	}
	return err
}

func (r *Recorder) offered(document domain.DesiredDocument) {
	r.mu.Lock()
	defer r.mu.Unlock()
	state, err := decode(document.Envelope)
	if err != nil {
		r.violate("device %s: the operator published what does not decode: %v", document.Device, err)
		return
	}
	for _, deployment := range state.Deployments {
		r.assigned[assignment{document.Device, deployment.Name, deployment.Generation}] = true
	}
}

func (r *Recorder) stored(document domain.DesiredDocument) {
	r.mu.Lock()
	defer r.mu.Unlock()
	state, err := decode(document.Envelope)
	if err != nil {
		return // recorded when it was offered
	}
	r.writes++
	generation := state.Generation
	state.Generation = 1
	content, err := json.Marshal(state)
	if err != nil {
		r.violate("device %s: %v", document.Device, err)
		return
	}
	before, known := r.last[document.Device]
	if known && generation <= before.generation {
		r.violate("device %s: generation %d was stored after %d", document.Device, generation, before.generation)
	}
	if known && bytes.Equal(content, before.content) && !r.refuses(document.Device, before) {
		r.violate("device %s: generation %d rewrites the unchanged generation %d", document.Device, generation, before.generation)
	}
	r.last[document.Device] = stored{envelope: document.Envelope, content: content, generation: generation}
}

// refuses reports whether the device holds a document that keeps it from taking
// the stored one, from before it was registered anew: then the same content must
// be written again under a higher generation.
func (r *Recorder) refuses(device contracts.DeviceID, before stored) bool {
	envelope, err := r.disks[device].LoadDesired()
	if err != nil || envelope == nil || bytes.Equal(envelope, before.envelope) {
		return false
	}
	held, err := decode(envelope)
	return err == nil && held.Generation >= before.generation
}

// Disk tells the recorder where a device keeps its desired state.
func (r *Recorder) Disk(device contracts.DeviceID, disk agent.Store) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disks[device] = disk
}

func decode(envelope []byte) (contracts.DesiredState, error) {
	signed, err := contracts.Decode[contracts.Signed](envelope)
	if err != nil {
		return contracts.DesiredState{}, err
	}
	return contracts.Decode[contracts.DesiredState](signed.Document)
}

// Runtime watches what an agent runs.
func (r *Recorder) Runtime(device contracts.DeviceID, next domain.WorkloadRuntime) domain.WorkloadRuntime {
	return &recordedRuntime{WorkloadRuntime: next, recorder: r, device: device}
}

type recordedRuntime struct {
	domain.WorkloadRuntime
	recorder *Recorder
	device   contracts.DeviceID
}

func (w *recordedRuntime) Apply(ctx context.Context, workload domain.Workload, progress domain.Progress) error {
	w.recorder.mu.Lock()
	if !w.recorder.assigned[assignment{w.device, workload.Name, workload.Generation}] {
		w.recorder.violate("device %s runs %s generation %d, which was never assigned to it", w.device, workload.Name, workload.Generation)
	}
	w.recorder.mu.Unlock()
	return w.WorkloadRuntime.Apply(ctx, workload, progress)
}
