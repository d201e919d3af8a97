package zitadel

import (
	"errors"
	"fmt"

	"github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/message"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nationtech/harmony-fleet/domain"
)

// IDs of the details of Zitadel's errors. They say what happened; the codes often
// do not.
const (
	idUsernameTaken      = "V3-DKcYh"
	idUserIDTaken        = "COMMAND-k2una"
	idUserNotFound       = "QUERY-Dfbg2"
	idUserGone           = "COMMAND-bd4ir1mblj"
	idKeyOfNoUser        = "COMMAND-bnipwm1"
	idKeyNotFound        = "COMMAND-4m77G"
	idKeyMalformed       = "COMMAND-5F3h1"
	idKeyExpired         = "DOMAIN-dv3t5"
	idAlreadyDeactivated = "COMMAND-5gunjw0cd7"
	idNotDeactivated     = "COMMAND-s5qqcz97hf"
	idUnknownRole        = "COMMAND-mm9F4"
	idUnknownProject     = "COMMAND-4m9ff"
	idNoMembership       = "AUTHZ-cdgFk"
	idNoPermission       = "AUTH-AWfge"
	idTokenInvalid       = "AUTH-7fs1e" // also without the scope of the API
	idUnknownInstance    = "QUERY-1kIjX"
)

// detailID returns what an error's detail says it is, or nothing.
func detailID(err error) string {
	failed, ok := status.FromError(err)
	if !ok {
		return ""
	}
	for _, detail := range failed.Details() {
		if detail, ok := detail.(*message.ErrorDetail); ok {
			return detail.GetId()
		}
	}
	return ""
}

// kindOf is the one place where errors of Zitadel's API become kinds of the domain.
// A "not found" of an unknown ID says nothing about what was asked for: missing
// rights look like that as well, and so does a wrong host name.
func kindOf(err error) error {
	switch detailID(err) {
	case idUsernameTaken, idUserIDTaken:
		return domain.ErrAlreadyExists
	case idUserNotFound, idUserGone, idKeyOfNoUser, idKeyNotFound:
		return domain.ErrNotFound
	case idKeyMalformed, idKeyExpired, idUnknownRole, idUnknownProject, idUnknownInstance:
		return domain.ErrInvalid
	case idAlreadyDeactivated, idNotDeactivated:
		return domain.ErrConflict
	case idNoMembership, idNoPermission:
		return domain.ErrPermissionDenied
	case idTokenInvalid:
		return domain.ErrUnauthenticated
	}
	switch status.Code(err) {
	case codes.AlreadyExists:
		return domain.ErrAlreadyExists
	case codes.InvalidArgument:
		return domain.ErrInvalid
	case codes.Unauthenticated:
		return domain.ErrUnauthenticated
	case codes.PermissionDenied:
		return domain.ErrPermissionDenied
	case codes.Unimplemented:
		return domain.ErrUnsupported
	default:
		return domain.ErrUnavailable
	}
}

// translate gives an error of Zitadel's API its kind, and says what was being done;
// nil stays nil, and an error that has a kind keeps it.
func translate(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	if domain.KindName(err) != "Internal" {
		return fmt.Errorf("%s: %w", what, err)
	}
	switch detailID(err) {
	case idNoMembership, idNoPermission:
		what += ": the service user lacks the right: it needs ORG_USER_MANAGER in the fleet's organization, and to set a fleet up ORG_OWNER"
	case idUnknownInstance:
		what += ": the server is not known by this name: the issuer must be exactly the provider's own"
	}
	return domain.WrapError(kindOf(err), err, "%s", what)
}

// ignore returns nil for errors of the given kind.
func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}
