package kube

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/nationtech/harmony-fleet/domain"
)

// translate gives an error of the API server one of domain's kinds. The cause
// stays reachable.
func translate(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return domain.WrapError(kindOf(err), err, format, args...)
}

func kindOf(err error) error {
	switch {
	case meta.IsNoMatchError(err):
		// The definitions are not installed, or not any more.
		return domain.ErrUnavailable
	case apierrors.IsNotFound(err):
		return domain.ErrNotFound
	case apierrors.IsAlreadyExists(err):
		return domain.ErrAlreadyExists
	case apierrors.IsConflict(err):
		return domain.ErrConflict
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return domain.ErrInvalid
	case apierrors.IsUnauthorized(err):
		return domain.ErrUnauthenticated
	case apierrors.HasStatusCause(err, "NamespaceTerminating"):
		return domain.ErrUnavailable
	case apierrors.IsForbidden(err):
		return domain.ErrPermissionDenied
	case apierrors.IsMethodNotSupported(err):
		return domain.ErrUnsupported
	case errors.Is(err, context.Canceled):
		return context.Canceled
	default:
		// No answer, or one that says to come back later.
		return domain.ErrUnavailable
	}
}
