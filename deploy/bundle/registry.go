package bundle

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// Registry is where a cluster gets the images of a bundle.
type Registry struct {
	// Name is its host with a port where needed, and a path below which the
	// images are put, such as "registry.site:5000/fleet".
	Name string
	// User and Password log in to push; without them the logins of docker on this
	// machine are used.
	User     string
	Password []byte
	// CA holds the only authorities to trust, in PEM; empty for those of this machine.
	CA []byte
	// PlainHTTP is for a registry without TLS; one on loopback is spoken to so anyway.
	PlainHTTP bool
	// PullSecret names a Secret of the cluster with the login to pull; optional.
	PullSecret string
}

func (r Registry) check() error {
	host, path, _ := strings.Cut(r.Name, "/")
	if host == "" {
		return deploy.WithNext(domain.Errorf(domain.ErrInvalid, "images.registry: name a registry"),
			"name one that the cluster's nodes pull from: the bundle's images are put there")
	}
	if err := (oras.Reference{Registry: host, Repository: cmp.Or(path, "fleet")}).Validate(); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "images.registry: %q is none; write host:port/path, without a scheme", r.Name)
	}
	_, err := r.client()
	return err
}

// target is the repository of an image in this registry. It has the name of the
// registry that it comes from, so no two images meet.
func (r Registry) target(image reference) oras.Reference {
	host, path, _ := strings.Cut(r.Name, "/")
	if path != "" {
		path += "/"
	}
	from := strings.NewReplacer(":", "_", "[", "", "]", "").Replace(image.Registry)
	return oras.Reference{Registry: host, Repository: path + from + "/" + image.Repository}
}

func (r Registry) client() (*auth.Client, error) {
	if len(r.CA) == 0 {
		return newClient(nil, r.User, r.Password), nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(r.CA) {
		return nil, domain.Errorf(domain.ErrInvalid, "images.caFile: it holds no certificate in PEM")
	}
	return newClient(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, r.User, r.Password), nil
}

// repository opens the one of an image.
func (r Registry) repository(image reference) (*remote.Repository, error) {
	client, err := r.client()
	if err != nil {
		return nil, err
	}
	return &remote.Repository{Client: client, Reference: r.target(image), PlainHTTP: r.PlainHTTP || loopback(r.target(image).Registry)}, nil
}

// upstream opens the repository that an image comes from.
func upstream(image reference) *remote.Repository {
	return &remote.Repository{
		Client: newClient(nil, "", nil), PlainHTTP: loopback(image.Registry),
		Reference: oras.Reference{Registry: image.Registry, Repository: image.Repository},
	}
}

func newClient(config *tls.Config, user string, password []byte) *auth.Client {
	base := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}).DialContext,
		TLSClientConfig: config, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true, IdleConnTimeout: dialTimeout,
	}
	client := &auth.Client{Client: &http.Client{Transport: retry.NewTransport(base)}, Cache: auth.NewCache()}
	client.SetUserAgent(kube.FieldManager)
	if user != "" {
		client.Credential = func(context.Context, string) (auth.Credential, error) {
			return auth.Credential{Username: user, Password: string(password)}, nil
		}
	} else if store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{}); err == nil {
		client.Credential = credentials.Credential(store)
	}
	return client
}

// translate gives an error of a registry its kind; nil stays nil.
func translate(err error, host, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	if response, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		kind := kube.KindOfStatus(response.StatusCode)
		wrapped := domain.WrapError(kind, err, "%s", what)
		switch {
		case errors.Is(kind, domain.ErrUnauthenticated), errors.Is(kind, domain.ErrPermissionDenied):
			return deploy.WithNext(wrapped, "log in: docker login %s; that it may be refused is also how some registries say that there is no such image", host)
		}
		return wrapped
	}
	switch _, isNet := errors.AsType[net.Error](err); {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", what, err)
	case errors.Is(err, errdef.ErrNotFound):
		return deploy.WithNext(domain.WrapError(domain.ErrNotFound, err, "%s", what), "see that the image's name and tag are right")
	case isNet, errors.Is(err, io.ErrUnexpectedEOF):
		return deploy.WithNext(domain.WrapError(domain.ErrUnavailable, err, "%s", what), "see that this machine reaches the registry %s", host)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// isIndex and isManifest tell the documents that name others from plain blobs.
func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == "application/vnd.docker.distribution.manifest.list.v2+json"
}

func isManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == "application/vnd.docker.distribution.manifest.v2+json"
}
