package zitadel

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/message"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/nationtech/harmony-fleet/domain"
)

func TestErrorsHaveTheKindOfTheirDetail(t *testing.T) {
	for _, c := range []struct {
		code codes.Code
		id   string
		kind error
	}{
		{codes.AlreadyExists, idUsernameTaken, domain.ErrAlreadyExists},
		{codes.FailedPrecondition, idUserIDTaken, domain.ErrAlreadyExists},
		{codes.NotFound, idUserNotFound, domain.ErrNotFound},
		{codes.NotFound, idUserGone, domain.ErrNotFound},
		{codes.NotFound, idKeyNotFound, domain.ErrNotFound},
		{codes.FailedPrecondition, idKeyOfNoUser, domain.ErrNotFound},
		{codes.FailedPrecondition, idAlreadyDeactivated, domain.ErrConflict},
		{codes.FailedPrecondition, idNotDeactivated, domain.ErrConflict},
		{codes.FailedPrecondition, idUnknownRole, domain.ErrInvalid},
		{codes.NotFound, idUnknownProject, domain.ErrInvalid},
		// What is said to be not found, and may well be there.
		{codes.NotFound, idNoMembership, domain.ErrPermissionDenied},
		{codes.NotFound, idUnknownInstance, domain.ErrInvalid},
		{codes.NotFound, "NEW-id", domain.ErrUnavailable},
		{codes.NotFound, "", domain.ErrUnavailable},
		{codes.PermissionDenied, idNoPermission, domain.ErrPermissionDenied},
		{codes.Unauthenticated, idTokenInvalid, domain.ErrUnauthenticated},
		{codes.Unauthenticated, "", domain.ErrUnauthenticated},
		{codes.Unavailable, "", domain.ErrUnavailable},
		{codes.DeadlineExceeded, "", domain.ErrUnavailable},
		{codes.Unimplemented, "", domain.ErrUnsupported},
		{codes.InvalidArgument, "", domain.ErrInvalid},
	} {
		failed := status.New(c.code, "text")
		if c.id != "" {
			var err error
			failed, err = failed.WithDetails(protoadapt.MessageV1Of(&message.ErrorDetail{Id: c.id}))
			require.NoError(t, err)
		}
		err := translate(failed.Err(), "doing")
		require.ErrorIs(t, err, c.kind, "%s %s", c.code, c.id)
		require.Equal(t, c.code, status.Code(err), "the cause stays reachable")
	}
	require.NoError(t, translate(nil, "doing"))
	require.ErrorIs(t, translate(context.DeadlineExceeded, "doing"), domain.ErrUnavailable)
	require.ErrorIs(t, translate(domain.Errorf(domain.ErrNotFound, "x"), "doing"), domain.ErrNotFound)
}
