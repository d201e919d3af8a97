package bundle

import (
	"cmp"
	"net"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry"

	"github.com/nationtech/harmony-fleet/domain"
)

const (
	dockerHub   = "docker.io"
	dialTimeout = 10 * time.Second
)

// reference is the full name of an image.
type reference struct {
	Registry   string
	Repository string
	Tag        string
	Digest     digest.Digest
}

// parseReference reads a reference as pods have it: without a registry it is of
// Docker Hub, and without tag and digest it is "latest".
func parseReference(text string) (reference, error) {
	wrong := func(err error) (reference, error) {
		return reference{}, domain.WrapError(domain.ErrInvalid, err, "image %q", text)
	}
	rest, pinned, hasDigest := strings.Cut(text, "@")
	r := reference{Registry: dockerHub, Digest: digest.Digest(pinned)}
	if hasDigest && !validDigest(r.Digest) {
		return wrong(domain.Errorf(domain.ErrInvalid, "%q is no SHA-256 digest", pinned))
	}
	if first, after, ok := strings.Cut(rest, "/"); ok && (first == "localhost" || strings.ContainsAny(first, ".:")) {
		r.Registry, rest = first, after
	}
	if r.Registry == "index."+dockerHub {
		r.Registry = dockerHub
	}
	rest, r.Tag, _ = strings.Cut(rest, ":")
	if r.Repository = rest; r.Registry == dockerHub && !strings.Contains(rest, "/") {
		r.Repository = "library/" + rest
	}
	if r.Tag == "" && !hasDigest {
		r.Tag = "latest"
	}
	if err := (registry.Reference{Registry: r.Registry, Repository: r.Repository, Reference: cmp.Or(r.Tag, pinned)}).Validate(); err != nil {
		return wrong(err)
	}
	return r, nil
}

// name is the image's without tag and digest.
func (r reference) name() string { return r.Registry + "/" + r.Repository }

func (r reference) String() string {
	text := r.name()
	if r.Tag != "" {
		text += ":" + r.Tag
	}
	if r.Digest != "" {
		text += "@" + r.Digest.String()
	}
	return text
}

// loopback says whether a registry is one of this machine, which is spoken to
// without TLS.
func loopback(host string) bool {
	name := host
	if bare, _, err := net.SplitHostPort(host); err == nil {
		name = bare
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip != nil && ip.IsLoopback()
}
