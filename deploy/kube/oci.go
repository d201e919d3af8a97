package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync/atomic"

	"helm.sh/helm/v3/pkg/registry"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// OCI is a chart in a registry of containers.
type OCI struct {
	// Reference is "oci://host/path/name", without a version.
	Reference string
	Version   string
	// Digest pins the chart's archive, not the manifest; optional.
	Digest string
	// User and Password log in; without them the logins of helm and docker on
	// this machine are used.
	User     string
	Password []byte
	// Client is http.DefaultClient by default.
	Client *http.Client
	// PlainHTTP is for a registry on loopback.
	PlainHTTP bool
}

// Load implements ChartSource.
func (o OCI) Load(ctx context.Context) (*Chart, error) {
	c, err := o.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("chart %s:%s: %w", o.Reference, o.Version, err)
	}
	return c, nil
}

func (o OCI) load(ctx context.Context) (*Chart, error) {
	reference, ok := strings.CutPrefix(o.Reference, "oci://")
	if !ok || !strings.Contains(reference, "/") || o.Version == "" {
		return nil, domain.Errorf(domain.ErrInvalid, "name it as oci://host/path/name, and its version apart")
	}
	base := cmp.Or(o.Client, http.DefaultClient)
	watch := &watch{ctx: ctx, base: base.Transport}
	client := *base
	client.Transport = watch
	options := []registry.ClientOption{registry.ClientOptHTTPClient(&client)}
	if o.User != "" {
		options = append(options, registry.ClientOptBasicAuth(o.User, string(o.Password)))
	}
	if o.PlainHTTP {
		options = append(options, registry.ClientOptPlainHTTP())
	}
	helm, err := registry.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	// A tag has no "+", which Helm writes as "_".
	pulled, err := helm.Pull(reference + ":" + strings.ReplaceAll(o.Version, "+", "_"))
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, watch.explain(err)
	}
	return fromArchive(pulled.Chart.Data, path.Base(reference), o.Version, o.Digest)
}

// watch gives requests a context, which Helm does not, bounds what they bring,
// and remembers how the registry answered.
type watch struct {
	ctx    context.Context //nolint:containedctx // it is that of one Load
	base   http.RoundTripper
	status atomic.Int64
	away   atomic.Bool
}

func (w *watch) RoundTrip(request *http.Request) (*http.Response, error) {
	base := w.base
	if base == nil {
		base = http.DefaultTransport
	}
	response, err := base.RoundTrip(request.WithContext(w.ctx))
	if err != nil {
		w.away.Store(true)
		return nil, err
	}
	w.status.Store(int64(response.StatusCode))
	if response.ContentLength > maxArchive {
		return nil, errors.Join(domain.Errorf(domain.ErrInvalid, "it is larger than %d MiB", maxArchive>>20), response.Body.Close())
	}
	return response, nil
}

func (w *watch) explain(err error) error {
	status := int(w.status.Load())
	switch {
	case w.away.Load():
		return deploy.WithNext(domain.WrapError(domain.ErrUnavailable, err, "registry"),
			"see that this machine reaches the registry, or name a chart's archive or directory instead")
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return deploy.WithNext(domain.WrapError(KindOfStatus(status), err, "registry"), "log in: helm registry login")
	case status == http.StatusNotFound:
		return deploy.WithNext(domain.WrapError(domain.ErrNotFound, err, "registry"), "see that the reference and the version are right")
	case status >= http.StatusBadRequest:
		return domain.WrapError(KindOfStatus(status), err, "registry")
	}
	return domain.WrapError(domain.ErrInvalid, err, "registry")
}
