package memory

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DesiredStatePublisher implements domain.DesiredStatePublisher.
type DesiredStatePublisher struct{ fleet *Fleet }

var _ domain.DesiredStatePublisher = (*DesiredStatePublisher)(nil)

// Desired returns the operator's side of desired state.
func (f *Fleet) Desired() *DesiredStatePublisher { return &DesiredStatePublisher{fleet: f} }

// Publish implements domain.DesiredStatePublisher.
func (p *DesiredStatePublisher) Publish(ctx context.Context, documents []domain.DesiredDocument) []domain.PublishResult {
	results := make([]domain.PublishResult, len(documents))
	for i, document := range documents {
		results[i].Revision, results[i].Err = p.publish(ctx, document)
	}
	return results
}

func (p *DesiredStatePublisher) publish(ctx context.Context, document domain.DesiredDocument) (domain.Revision, error) {
	if err := p.fleet.reach(ctx); err != nil {
		return 0, err
	}
	if err := checkDesired(document); err != nil {
		return 0, err
	}
	stored, err := p.fleet.desired.put(document.Device, func(current held[[]byte]) ([]byte, error) {
		return document.Envelope, checkExpected(document.Device, current, document.Revision)
	})
	return stored.revision, err
}

func checkDesired(document domain.DesiredDocument) error {
	if err := document.Device.Validate(); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "desired state of device %q", document.Device)
	}
	if size := len(document.Envelope); size == 0 || size > contracts.MaxDocumentBytes {
		return domain.Errorf(domain.ErrInvalid, "desired state of device %q has %d bytes: 1 to %d are allowed",
			document.Device, size, contracts.MaxDocumentBytes)
	}
	return nil
}

// checkExpected compares the stored revision, zero for none, with the one that
// the writer has seen.
func checkExpected(device contracts.DeviceID, current held[[]byte], seen domain.Revision) error {
	stored := current.revision
	if !current.exists {
		stored = 0
	}
	if stored != seen {
		return domain.Errorf(domain.ErrConflict, "desired state of device %q was changed meanwhile: revision %d is stored, not %d", device, stored, seen)
	}
	return nil
}

// Get implements domain.DesiredStatePublisher.
func (p *DesiredStatePublisher) Get(ctx context.Context, device contracts.DeviceID) (domain.DesiredDocument, error) {
	if err := p.fleet.reach(ctx); err != nil {
		return domain.DesiredDocument{}, err
	}
	stored := p.fleet.desired.get(device)
	if !stored.exists {
		return domain.DesiredDocument{}, notFound("desired state of device", device)
	}
	return domain.DesiredDocument{Device: device, Envelope: stored.value, Revision: stored.revision}, nil
}

// Load implements domain.DesiredStatePublisher.
func (p *DesiredStatePublisher) Load(ctx context.Context, handle func(domain.DesiredDocument) error) error {
	if err := p.fleet.reach(ctx); err != nil {
		return err
	}
	for _, stored := range p.fleet.desired.list() {
		if err := p.fleet.reach(ctx); err != nil {
			return err
		}
		if err := handle(domain.DesiredDocument{Device: stored.Key, Envelope: stored.Value, Revision: stored.Revision}); err != nil {
			return err
		}
	}
	return nil
}

// Remove implements domain.DesiredStatePublisher.
func (p *DesiredStatePublisher) Remove(ctx context.Context, device contracts.DeviceID, revision domain.Revision) error {
	if err := p.fleet.reach(ctx); err != nil {
		return err
	}
	return p.fleet.desired.delete(device, func(current held[[]byte]) error {
		if !current.exists {
			return nil
		}
		return checkExpected(device, current, revision)
	})
}

// Follow implements domain.DesiredStateSource.
func (d *Device) Follow(ctx context.Context, held func() uint64, handle func(envelope []byte)) error {
	bell := make(chan struct{}, 1)
	defer d.fleet.desired.listen(d.id, bell)()
	defer d.listen(bell)()

	var session uint64
	var sent domain.Revision
	for {
		connected, now := d.session()
		stored := d.fleet.desired.get(d.id)
		switch {
		case ctx.Err() != nil:
			return nil
		case !connected || !stored.exists:
		case session != now:
			if held() < generationOf(stored.value) {
				handle(stored.value)
			}
			session, sent = now, stored.revision
		case sent != stored.revision:
			handle(stored.value)
			sent = stored.revision
		}
		select {
		case <-ctx.Done():
			return nil
		case <-bell:
		}
	}
}

// generationOf returns the generation of a document that nobody has verified,
// and the highest one when it cannot be read: then the device shall see it.
func generationOf(envelope []byte) uint64 {
	var signed struct {
		Document struct {
			Generation uint64 `json:"generation"`
		} `json:"document"`
	}
	if json.Unmarshal(envelope, &signed) != nil || signed.Document.Generation == 0 {
		return contracts.MaxGeneration + 1
	}
	return signed.Document.Generation
}

func cloneBytes(data []byte) []byte { return bytes.Clone(data) }
