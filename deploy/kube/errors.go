package kube

import (
	"context"
	"errors"
	"fmt"
	"net"

	"helm.sh/helm/v3/pkg/storage/driver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/nationtech/harmony-fleet/domain"
)

// kindOf is the one place where errors of Kubernetes and Helm become kinds of
// the domain; nil where none fits.
func kindOf(err error) error {
	for _, kind := range []error{
		domain.ErrNotFound, domain.ErrAlreadyExists, domain.ErrConflict, domain.ErrInvalid,
		domain.ErrUnauthenticated, domain.ErrPermissionDenied, domain.ErrUnavailable, domain.ErrUnsupported,
	} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return domain.ErrUnavailable
	}
	switch {
	case meta.IsNoMatchError(err):
		return domain.ErrUnsupported
	case apierrors.IsNotFound(err), errors.Is(err, driver.ErrReleaseNotFound), errors.Is(err, driver.ErrNoDeployedReleases):
		return domain.ErrNotFound
	case apierrors.IsAlreadyExists(err), errors.Is(err, driver.ErrReleaseExists):
		return domain.ErrAlreadyExists
	case apierrors.IsConflict(err):
		return domain.ErrConflict
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return domain.ErrInvalid
	case apierrors.IsUnauthorized(err):
		return domain.ErrUnauthenticated
	case apierrors.IsForbidden(err):
		return domain.ErrPermissionDenied
	case apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsServiceUnavailable(err),
		apierrors.IsTooManyRequests(err), apierrors.IsInternalError(err):
		return domain.ErrUnavailable
	case clientcmd.IsEmptyConfig(err):
		return domain.ErrNotFound
	case clientcmd.IsConfigurationInvalid(err), clientcmd.IsContextNotFound(err):
		return domain.ErrInvalid
	}
	return nil
}

// translate gives an error its kind and says what was being done; nil stays nil.
func translate(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	kind := kindOf(err)
	if kind == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf(format+": %w", append(args, err)...)
	}
	return domain.WrapError(kind, err, format, args...)
}
