package nats

import (
	"errors"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nationtech/harmony-fleet/domain"
)

// Codes of the server that nats.go does not name.
const (
	codeWrongLastSequence         jetstream.ErrorCode = 10071
	codeWrongLastSequenceReplicas jetstream.ErrorCode = 10164
	codeMessageTooLarge           jetstream.ErrorCode = 10054
	codeStreamNotFound            jetstream.ErrorCode = 10059
	codeReplicasNotSupported      jetstream.ErrorCode = 10074
)

// kindOf is the one place where errors of NATS become kinds of the domain.
// An error that has a kind already keeps it. What is not known is
// ErrUnavailable: nearly all of it is a broker that is away, slow or not ready.
func kindOf(err error) error {
	for _, kind := range []error{
		domain.ErrNotFound, domain.ErrAlreadyExists, domain.ErrConflict, domain.ErrInvalid,
		domain.ErrUnauthenticated, domain.ErrPermissionDenied, domain.ErrUnavailable, domain.ErrUnsupported,
	} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	switch {
	// A revision conflict also satisfies ErrKeyExists, so it is tried first. The
	// creation of a key knows better: see bucket.create.
	case errors.Is(err, jetstream.ErrKeyRevisionMismatch), isWrongRevision(err):
		return domain.ErrConflict
	case errors.Is(err, jetstream.ErrKeyExists):
		return domain.ErrAlreadyExists
	case isAny(err, jetstream.ErrKeyNotFound, jetstream.ErrKeyDeleted, jetstream.ErrMsgNotFound):
		return domain.ErrNotFound
	case isAny(err, nats.ErrMaxPayload, nats.ErrBadSubject, jetstream.ErrInvalidKey), hasCode(err, codeMessageTooLarge):
		return domain.ErrInvalid
	case isAny(err, nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired):
		return domain.ErrUnauthenticated
	case hasCode(err, codeReplicasNotSupported):
		return domain.ErrUnsupported
	case errors.Is(err, nats.ErrPermissionViolation):
		return domain.ErrPermissionDenied
	default:
		return domain.ErrUnavailable
	}
}

// translate gives an error of NATS its kind and says what was being done; nil
// stays nil.
func translate(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return domain.WrapError(kindOf(err), err, format, args...)
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

func hasCode(err error, codes ...jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && slices.Contains(codes, api.ErrorCode)
}

func isWrongRevision(err error) bool {
	return hasCode(err, codeWrongLastSequence, codeWrongLastSequenceReplicas)
}

// isMissingStream reports whether a stream or bucket does not exist.
func isMissingStream(err error) bool {
	return isAny(err, jetstream.ErrStreamNotFound, jetstream.ErrBucketNotFound) || hasCode(err, codeStreamNotFound)
}
