package agent

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	// lateness is how long after a desired state was accepted older ones may
	// still be under way to the device.
	lateness = time.Minute
	// remembered is how many accepted documents are recognised.
	remembered = 16
)

// document is a desired state whose signature was verified.
type document struct {
	state    contracts.DesiredState
	envelope []byte
	digest   [sha256.Size]byte
	// name is the contracts.DocumentDigest.
	name string
	// acceptedAt is zero when it came from disk.
	acceptedAt time.Time
}

// open verifies an envelope: its form, its signature and its device. The refusal
// is nil when it may be trusted.
func (id Identity) open(envelope []byte) (document, *contracts.Refusal) {
	signed, err := contracts.Decode[contracts.Signed](envelope)
	if err != nil {
		return document{}, refuse(contracts.RefusedMalformed, 0, "%v", err)
	}
	verification := signed.Verify(id.TrustedKeys)
	state, err := contracts.Decode[contracts.DesiredState](signed.Document)
	switch {
	case errors.Is(verification, contracts.ErrUnknownKey):
		return document{}, refuse(contracts.RefusedUnknownKey, state.Generation,
			"signed by key %s, which is not pinned on this device: enroll the device again, or sign with a pinned key", signed.Signature.KeyID)
	case verification != nil:
		return document{}, refuse(contracts.RefusedBadSignature, state.Generation,
			"the signature of key %s does not fit the document: it was changed on its way", signed.Signature.KeyID)
	case err != nil:
		return document{}, refuse(contracts.RefusedMalformed, 0, "%v", err)
	case state.Device != id.Device:
		return document{}, refuse(contracts.RefusedWrongDevice, state.Generation,
			"the document is for device %q, this is device %q", state.Device, id.Device)
	}
	return document{
		state:    state,
		envelope: bytes.Clone(envelope),
		digest:   sha256.Sum256(signed.Document),
		name:     contracts.DocumentDigest(signed.Document),
	}, nil
}

func refuse(reason contracts.RefusalReason, generation uint64, format string, args ...any) *contracts.Refusal {
	return &contracts.Refusal{
		Reason:     reason,
		Generation: generation,
		Message:    contracts.Clip(fmt.Sprintf(format, args...), contracts.MaxMessageBytes),
	}
}

// acceptance decides which desired states a device takes.
type acceptance struct {
	identity Identity
	// held is nil until the first document was verified.
	held *document
	// accepted are the digests of the last documents held, oldest first.
	accepted [][sha256.Size]byte
}

// judge returns the document to take next, or why it is refused, or neither when
// there is nothing to do or to say.
//
// A connection may bring documents late, twice and out of order, so an older
// generation alone is no reason to alarm people: it is passed over when it is one
// of the documents that were held before, or when it comes within a minute after
// the held one was accepted and so may have been under way when that was sent. Any
// other older generation means that the operator forgot what it had published, and
// is refused aloud.
func (x *acceptance) judge(envelope []byte, now time.Time) (*document, *contracts.Refusal) {
	if x.held != nil && bytes.Equal(envelope, x.held.envelope) {
		return nil, nil
	}
	candidate, refusal := x.identity.open(envelope)
	if refusal != nil {
		return nil, refusal
	}
	if x.held == nil || candidate.state.Generation > x.held.state.Generation {
		candidate.acceptedAt = now
		return &candidate, nil
	}
	older := candidate.state.Generation < x.held.state.Generation
	switch {
	case slices.Contains(x.accepted, candidate.digest):
		return nil, nil
	case older && !x.held.acceptedAt.IsZero() && now.Sub(x.held.acceptedAt) < lateness:
		return nil, nil
	case older:
		return nil, refuse(contracts.RefusedOlderGeneration, candidate.state.Generation,
			"the device holds generation %d and takes only higher ones", x.held.state.Generation)
	default:
		return nil, refuse(contracts.RefusedOlderGeneration, candidate.state.Generation,
			"the device holds another document of this generation and takes only higher ones")
	}
}

// hold makes the document the one to compare with.
func (x *acceptance) hold(taken *document) {
	x.held = taken
	if len(x.accepted) == remembered {
		x.accepted = slices.Delete(x.accepted, 0, 1)
	}
	x.accepted = append(x.accepted, taken.digest)
}
