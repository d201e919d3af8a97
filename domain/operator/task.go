package operator

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// task is one device's document to be composed and, if it changed, stored. It
// is a copy of what the engine knew; a worker owns it.
type task struct {
	device *device // only to hand back; the worker does not look into it
	id     contracts.DeviceID
	labels func() contracts.Labels
	// assigned are sorted by name.
	assigned []assigned
	stored   record
	inDoubt  bool
	// applied is the generation that the device says it has.
	applied uint64
	// conflicts: the device has another document of that generation.
	conflicts bool
	workloads []workload
}

// maxJump is how far a device may be ahead of the store. One that could choose
// its generation freely would choose the last, after which there is none.
const maxJump = 1 << 24

// ahead reports whether the device would refuse the stored document: it holds a
// later one, or another one of the same generation.
func (t *task) ahead(stored *record) bool {
	return t.applied > stored.generation || t.conflicts && t.applied == stored.generation
}

// assigned is what the planner gave. When the generation is not that of the
// spec, the device keeps what it has.
type assigned struct {
	spec       *compiled
	generation uint64
}

// outcome is what became of a task.
type outcome struct {
	device *device
	// stored is what is known to be stored now; inDoubt when it is not known.
	stored   record
	inDoubt  bool
	failures []failure
	// lost: the device was ahead of what was stored, or it was stored no more.
	lost bool
	// published is the size of the document when it was written, else 0.
	published int
	// err is why the document was not written: ErrConflict and ErrUnavailable
	// are worth another attempt, ErrInvalid is not.
	err error
}

// publisher does the tasks of one batch.
type publisher struct {
	composer *composer
	store    domain.DesiredStatePublisher
	// buffer is of the draft, document of the same with its generation.
	buffer, document []byte
}

// do composes the documents of all tasks and stores those that changed.
func (p *publisher) do(ctx context.Context, tasks []task) []outcome {
	outcomes := make([]outcome, len(tasks))
	var documents []domain.DesiredDocument
	var next []record // what is stored when the document of the same index is
	var owners []int
	var down error
	for i := range tasks {
		if down != nil && tasks[i].inDoubt {
			// The store did not answer a moment ago; waiting for it again for each
			// document would take for ever.
			outcomes[i] = outcome{device: tasks[i].device, stored: tasks[i].stored, inDoubt: true, err: down}
			continue
		}
		write, written := p.compose(ctx, &tasks[i], &outcomes[i])
		if errors.Is(outcomes[i].err, domain.ErrUnavailable) {
			down = outcomes[i].err
		}
		if write == nil {
			continue
		}
		if documents == nil { // most batches of a restart write nothing
			left := len(tasks) - i
			documents, next, owners = make([]domain.DesiredDocument, 0, left), make([]record, 0, left), make([]int, 0, left)
		}
		documents = append(documents, domain.DesiredDocument{Device: tasks[i].id, Envelope: write, Revision: outcomes[i].stored.revision})
		next = append(next, written)
		owners = append(owners, i)
	}
	if len(documents) == 0 {
		return outcomes
	}
	for n, result := range p.store.Publish(ctx, documents) {
		o := &outcomes[owners[n]]
		if result.Err != nil {
			o.err = result.Err
			o.inDoubt = !errors.Is(result.Err, domain.ErrInvalid)
			o.lost = false
			continue
		}
		next[n].revision = result.Revision
		o.stored = next[n]
		o.published = len(documents[n].Envelope)
	}
	return outcomes
}

// compose fills the outcome in, and returns the envelope to write, nil for
// none, and the record of it.
func (p *publisher) compose(ctx context.Context, t *task, o *outcome) ([]byte, record) {
	o.device = t.device
	base := storedDocument{publisher: p, id: t.id, record: t.stored}
	defer func() { o.stored = base.record }()
	if t.inDoubt {
		if err := base.load(ctx); err != nil {
			o.err, o.inDoubt = err, true
			return nil, record{}
		}
	}
	labels := sync.OnceValue(t.labels)
	if p.unchanged(t, &base.record, labels) {
		return nil, record{}
	}
	d := begin(p.buffer, t.id)
	for _, a := range t.assigned {
		if err := p.entry(ctx, t, d, a, labels, &base); err != nil {
			o.err = err
			o.inDoubt = !errors.Is(err, domain.ErrInvalid)
			o.failures = d.failures
			return nil, record{}
		}
	}
	o.failures = d.failures
	content := p.composer.end(d)
	p.buffer = d.text
	if err := d.check(); err != nil {
		o.err = err
		return nil, record{}
	}
	o.lost = base.vanished || t.ahead(&base.record)
	if !o.lost && base.record.revision != 0 && base.record.content == content {
		return nil, record{}
	}
	if t.applied > base.record.generation+maxJump {
		o.lost = false
		o.err = domain.Errorf(domain.ErrInvalid, "the device says that it applied generation %d, and %d is stored: no store can have lost so many; delete the device and register it anew", t.applied, base.record.generation)
		return nil, record{}
	}
	generation := max(t.applied, base.record.generation) + 1
	if generation > contracts.MaxGeneration {
		o.lost = false
		o.err = domain.Errorf(domain.ErrInvalid, "the device says that it applied generation %d; there is none above it", t.applied)
		return nil, record{}
	}
	p.document = d.complete(p.document, generation)
	envelope, name := p.composer.sign(p.document)
	return envelope, record{generation: generation, content: content, digest: name, entries: d.entries}
}

// unchanged reports whether what is stored is what is assigned, byte for byte.
// Then it was checked before, and the costly look into expanded templates is
// saved: after a restart this is the whole fleet.
func (p *publisher) unchanged(t *task, stored *record, labels func() contracts.Labels) bool {
	if stored.revision == 0 || t.ahead(stored) || len(t.assigned) != len(stored.entries) {
		return false
	}
	d := begin(p.buffer, t.id)
	for _, a := range t.assigned {
		if a.generation != a.spec.generation {
			return false
		}
		err := d.add(a.spec.handle, a.generation, func(out []byte) ([]byte, error) {
			return a.spec.appendEntry(out, t.id, labels, false)
		})
		if err != nil {
			return false
		}
	}
	content := p.composer.end(d)
	p.buffer = d.text
	return content == stored.content
}

// entry adds one deployment to the draft. When it cannot be as assigned, the
// entry of the last published document is kept: a mistake takes no running
// workload away. An error means that the document must not be written at all.
func (p *publisher) entry(ctx context.Context, t *task, d *draft, a assigned, labels func() contracts.Labels, base *storedDocument) error {
	name := a.spec.handle
	if a.generation == a.spec.generation {
		err := d.add(name, a.generation, func(out []byte) ([]byte, error) { return a.spec.appendEntry(out, t.id, labels, true) })
		if err == nil {
			return nil
		}
		d.failures = append(d.failures, failure{name: name, message: contracts.Clip(err.Error(), maxFailure)})
	}
	kept, generation, err := base.keep(ctx, name)
	switch {
	case err != nil:
		return err
	case kept != nil:
		return d.add(name, generation, func(out []byte) ([]byte, error) { return append(out, kept...), nil })
	case base.record.content == [16]byte{} && findWorkload(t.workloads, name) != nil:
		return domain.Errorf(domain.ErrInvalid,
			"the device runs deployment %q, which cannot be composed, and its last desired state is lost: nothing is published until the deployment is corrected", a.spec.name)
	default:
		return nil
	}
}

// storedDocument is the stored document of one device: its record, and its
// contents once they are needed.
type storedDocument struct {
	publisher *publisher
	id        contracts.DeviceID
	record    record
	loaded    bool
	vanished  bool // it was there, and is not any more
	document  document
}

// keep returns the entry of one deployment, nil when there is none.
func (s *storedDocument) keep(ctx context.Context, name nameHandle) (json.RawMessage, uint64, error) {
	if s.record.generationOf(name) == 0 {
		return nil, 0, nil
	}
	if err := s.load(ctx); err != nil {
		return nil, 0, err
	}
	entry, generation, _ := s.document.entry(name)
	return entry, generation, nil
}

// load reads the document from the store. One that is not there, or not ours,
// leaves a record that makes the device's next document be written.
func (s *storedDocument) load(ctx context.Context) error {
	if s.loaded {
		return nil
	}
	stored, err := s.publisher.store.Get(ctx, s.id)
	switch {
	case errors.Is(err, domain.ErrNotFound):
		s.vanished = s.record.revision != 0
		s.record = record{generation: s.record.generation}
	case err != nil:
		return err
	default:
		read, err := s.publisher.composer.read(stored)
		if err != nil {
			s.record = record{revision: stored.Revision, generation: s.record.generation}
			break
		}
		if known := s.record.generation; read.record.generation < known {
			// The store went back in time: devices may have what it no longer has.
			read.record.generation, read.record.content = known, [16]byte{}
		}
		s.record, s.document = read.record, read
	}
	s.loaded = true
	return nil
}
