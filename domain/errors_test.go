package domain_test

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestKindsCrossTheWire(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]error{
		"NotFound": domain.ErrNotFound, "AlreadyExists": domain.ErrAlreadyExists, "Conflict": domain.ErrConflict,
		"Invalid": domain.ErrInvalid, "Unauthenticated": domain.ErrUnauthenticated,
		"PermissionDenied": domain.ErrPermissionDenied, "Unavailable": domain.ErrUnavailable, "Unsupported": domain.ErrUnsupported,
	} {
		here := domain.WrapError(kind, io.ErrUnexpectedEOF, "read %s", "it")
		require.ErrorIs(t, here, kind)
		require.ErrorIs(t, here, io.ErrUnexpectedEOF)
		require.Equal(t, "read it: unexpected EOF", here.Error())
		require.Equal(t, name, domain.KindName(here))
		there := domain.ErrorOfKind(name, here.Error())
		require.ErrorIs(t, there, kind)
		require.Equal(t, here.Error(), there.Error())
	}
	require.Equal(t, "Internal", domain.KindName(io.EOF))
	require.Equal(t, "x", domain.ErrorOfKind("Internal", "x").Error())
	require.NoError(t, domain.WrapError(domain.ErrInvalid, nil, "nothing"))
}

func TestAnswerAlwaysDecodes(t *testing.T) {
	t.Parallel()
	reply, err := contracts.Decode[contracts.CommandReply](domain.Answer(contracts.Empty{}, nil))
	require.NoError(t, err)
	require.Nil(t, reply.Error)

	long := errors.New(string(make([]byte, 5000)))
	for _, cause := range []error{long, domain.Errorf(domain.ErrNotFound, "gone"), io.EOF} {
		reply, err = contracts.Decode[contracts.CommandReply](domain.Answer(nil, cause))
		require.NoError(t, err)
		require.Equal(t, domain.KindName(cause), reply.Error.Kind)
	}
}
