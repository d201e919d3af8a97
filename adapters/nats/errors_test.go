package nats

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
)

func TestTranslate(t *testing.T) {
	t.Parallel()
	wrongRevision := &jetstream.APIError{Code: 400, ErrorCode: codeWrongLastSequence}
	require.ErrorIs(t, wrongRevision, jetstream.ErrKeyExists, "the trap that the order of the cases avoids")
	cases := map[string]struct {
		cause error
		kind  error
	}{
		"revision":            {wrongRevision, domain.ErrConflict},
		"revision, replicas":  {&jetstream.APIError{ErrorCode: codeWrongLastSequenceReplicas}, domain.ErrConflict},
		"revision, of a key":  {fmt.Errorf("%w: %w", wrongRevision, jetstream.ErrKeyRevisionMismatch), domain.ErrConflict},
		"key missing":         {jetstream.ErrKeyNotFound, domain.ErrNotFound},
		"key deleted":         {jetstream.ErrKeyDeleted, domain.ErrNotFound},
		"message missing":     {jetstream.ErrMsgNotFound, domain.ErrNotFound},
		"bucket missing":      {jetstream.ErrBucketNotFound, domain.ErrUnavailable},
		"stream missing":      {jetstream.ErrStreamNotFound, domain.ErrUnavailable},
		"no cluster":          {&jetstream.APIError{ErrorCode: codeReplicasNotSupported}, domain.ErrUnsupported},
		"payload":             {nats.ErrMaxPayload, domain.ErrInvalid},
		"message size":        {&jetstream.APIError{ErrorCode: codeMessageTooLarge}, domain.ErrInvalid},
		"credential":          {nats.ErrAuthorization, domain.ErrUnauthenticated},
		"expired":             {nats.ErrAuthExpired, domain.ErrUnauthenticated},
		"permission":          {fmt.Errorf("%w: publish", nats.ErrPermissionViolation), domain.ErrPermissionDenied},
		"disconnected":        {nats.ErrReconnectBufExceeded, domain.ErrUnavailable},
		"closed":              {nats.ErrConnectionClosed, domain.ErrUnavailable},
		"timeout":             {context.DeadlineExceeded, domain.ErrUnavailable},
		"nobody listens":      {nats.ErrNoResponders, domain.ErrUnavailable},
		"unknown":             {errors.New("unknown"), domain.ErrUnavailable},
		"of a kind already":   {domain.Errorf(domain.ErrUnsupported, "no"), domain.ErrUnsupported},
		"invalid key":         {jetstream.ErrInvalidKey, domain.ErrInvalid},
		"account expired":     {nats.ErrAccountAuthExpired, domain.ErrUnauthenticated},
		"no JetStream at all": {jetstream.ErrJetStreamNotEnabled, domain.ErrUnavailable},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := translate(c.cause, "do %s", "it")
			require.ErrorIs(t, err, c.kind)
			require.ErrorIs(t, err, c.cause)
			require.ErrorContains(t, err, "do it: ")
		})
	}
	require.NoError(t, translate(nil, "do it"))
}
