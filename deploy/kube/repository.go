package kube

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"helm.sh/helm/v3/pkg/repo"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Repository is a chart in a repository over HTTP.
type Repository struct {
	// URL is the repository's, without index.yaml.
	URL     string
	Name    string
	Version string
	// Digest pins the archive; optional, but without it a repository can serve
	// another chart under the same version.
	Digest string
	// User and Password log in; optional.
	User     string
	Password []byte
	// Client is http.DefaultClient by default.
	Client *http.Client
}

// Load implements ChartSource.
func (r Repository) Load(ctx context.Context) (*Chart, error) {
	c, err := r.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("chart %s %s of %s: %w", r.Name, r.Version, r.URL, err)
	}
	return c, nil
}

func (r Repository) load(ctx context.Context) (*Chart, error) {
	base, err := url.Parse(strings.TrimSuffix(r.URL, "/") + "/")
	if err != nil || base.Host == "" {
		return nil, domain.Errorf(domain.ErrInvalid, "that is no URL of a repository")
	}
	if r.Name == "" || r.Version == "" {
		return nil, domain.Errorf(domain.ErrInvalid, "name the chart and its version")
	}
	data, err := r.get(ctx, base.JoinPath("index.yaml"), base, maxIndex)
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	entry, err := findInIndex(data, r.Name, r.Version)
	if err != nil {
		return nil, err
	}
	at, err := base.Parse(entry.URLs[0])
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "index")
	}
	archive, err := r.get(ctx, at, base, maxArchive)
	if err != nil {
		return nil, err
	}
	promised := ""
	if entry.Digest != "" {
		promised = "sha256:" + strings.TrimPrefix(entry.Digest, "sha256:")
	}
	return fromArchive(archive, r.Name, r.Version, cmp.Or(r.Digest, promised))
}

// findInIndex returns the entry of one version of a chart, which has a URL.
func findInIndex(data []byte, name, version string) (*repo.ChartVersion, error) {
	var index repo.IndexFile
	if err := yaml.Unmarshal(data, &index); err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "its index")
	}
	versions, ok := index.Entries[name]
	if !ok {
		return nil, deploy.WithNext(domain.Errorf(domain.ErrNotFound, "the repository has no such chart"), "see that the repository's URL and the chart's name are right")
	}
	var have []string
	for _, entry := range versions {
		if entry == nil || entry.Metadata == nil {
			continue
		}
		if strings.TrimPrefix(entry.Version, "v") != strings.TrimPrefix(version, "v") {
			if len(have) < 5 {
				have = append(have, entry.Version)
			}
			continue
		}
		if len(entry.URLs) == 0 {
			return nil, domain.Errorf(domain.ErrInvalid, "its index names no URL for it")
		}
		return entry, nil
	}
	return nil, deploy.WithNext(domain.Errorf(domain.ErrNotFound, "the repository has no such version"), "name one of its versions, such as %s", strings.Join(have, ", "))
}

func (r Repository) get(ctx context.Context, at, base *url.URL, limit int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "request")
	}
	// The password is for the repository, not for where its index points to.
	if r.User != "" && at.Host == base.Host && at.Scheme == base.Scheme {
		request.SetBasicAuth(r.User, string(r.Password))
	}
	response, err := cmp.Or(r.Client, http.DefaultClient).Do(request)
	if err != nil {
		return nil, deploy.WithNext(domain.WrapError(domain.ErrUnavailable, err, "get %s", at.Redacted()),
			"see that this machine reaches the repository, or name a chart's archive or directory instead")
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, domain.Errorf(KindOfStatus(response.StatusCode), "get %s: %s", at.Redacted(), response.Status)
	}
	data, err := readAll(response.Body, limit)
	if err != nil {
		return nil, domain.WrapError(cmp.Or(kindOf(err), domain.ErrUnavailable), err, "get %s", at.Redacted())
	}
	return data, nil
}

// KindOfStatus is the kind in the domain of an HTTP status that is a failure.
func KindOfStatus(code int) error {
	switch {
	case code == http.StatusUnauthorized:
		return domain.ErrUnauthenticated
	case code == http.StatusForbidden:
		return domain.ErrPermissionDenied
	case code == http.StatusNotFound, code == http.StatusGone:
		return domain.ErrNotFound
	case code == http.StatusTooManyRequests, code >= http.StatusInternalServerError:
		return domain.ErrUnavailable
	}
	return domain.ErrUnsupported
}
