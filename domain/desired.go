package domain

import (
	"context"

	"github.com/nationtech/harmony-fleet/contracts"
)

// DesiredDocument is one device's signed desired state, as stored.
type DesiredDocument struct {
	Device contracts.DeviceID
	// Envelope is an encoded contracts.Signed.
	Envelope []byte
	// Revision is the stored revision: when publishing, the one to replace, zero
	// when none is stored.
	Revision Revision
}

// PublishResult is what became of one document.
type PublishResult struct {
	// Revision is the new one when Err is nil.
	Revision Revision
	// Err is ErrConflict when another revision was stored, so that an operator
	// that no longer leads cannot overwrite its successor; ErrInvalid when the
	// store will never take the document; ErrUnavailable when it is not known
	// to be stored.
	Err error
}

// DesiredStatePublisher is the operator's side of desired state. A stored
// document is what a device sees, live and on catch-up; nobody sees one that
// is not stored. Safe for concurrent use; no retries.
type DesiredStatePublisher interface {
	// Publish stores the documents, each on its own: one that fails does not
	// stop the others. It blocks until each has a result and returns them in
	// order. Devices are unique within a call.
	Publish(ctx context.Context, documents []DesiredDocument) []PublishResult
	// Get returns the stored document of one device, or ErrNotFound.
	Get(ctx context.Context, device contracts.DeviceID) (DesiredDocument, error)
	// Load calls handle with every stored document, in no particular order, and
	// returns when there is no more, or with the first error of handle.
	Load(ctx context.Context, handle func(DesiredDocument) error) error
	// Remove deletes the document whose stored revision is the given one:
	// ErrConflict when another is stored, nil when none is. The device keeps
	// what it has.
	Remove(ctx context.Context, device contracts.DeviceID, revision Revision) error
}

// DesiredStateSource is one device's side of desired state.
type DesiredStateSource interface {
	// Follow calls handle with encoded envelopes meant for this device: the
	// current one soon after every (re)connection, each new one as it is
	// stored, and again at any time. They may come late, twice or out of order,
	// and nothing in them is trusted: handle verifies. held returns the
	// generation held, so that what is not newer need not be sent. Follow
	// blocks, calls handle from one goroutine at a time, and returns nil after
	// ctx is cancelled.
	Follow(ctx context.Context, held func() uint64, handle func(envelope []byte)) error
}
