package kube_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestSources(t *testing.T) {
	url, dir := charttest.Repository(t, web("1.0.0"), web("1.1.0"))
	archive := filepath.Join(dir, "web-1.1.0.tgz")
	digest := charttest.Digest(t, archive)
	registry := charttest.Registry(t, "me", "word", web("1.1.0"))
	unpacked := web("1.1.0").Directory(t)
	fromDirectory, err := kube.Directory{Files: os.DirFS(unpacked), Name: unpacked, Version: "1.1.0"}.Load(t.Context())
	require.NoError(t, err)
	for name, source := range map[string]kube.ChartSource{
		"repository": kube.Repository{URL: url, Name: "web", Version: "1.1.0", Digest: digest},
		"archive":    kube.Archive{Path: archive, Version: "1.1.0", Digest: digest},
		"oci":        kube.OCI{Reference: "oci://" + registry + "/charts/web", Version: "1.1.0", User: "me", Password: []byte("word"), PlainHTTP: true},
		"directory":  kube.Directory{Files: os.DirFS(unpacked), Name: unpacked, Version: "1.1.0", Digest: fromDirectory.Digest},
	} {
		chart, err := source.Load(t.Context())
		require.NoError(t, err, name)
		require.Equal(t, "web", chart.Name, name)
		require.Equal(t, "1.1.0", chart.Version, name)
		require.Len(t, chart.Digest, len("sha256:")+64, name)
		if name == "repository" || name == "archive" {
			require.Equal(t, digest, chart.Digest, name)
		}
	}
}

func TestSourcesNameWhatIsWrong(t *testing.T) {
	url, dir := charttest.Repository(t, web("1.0.0"))
	registry := charttest.Registry(t, "me", "word", web("1.0.0"))
	oci := kube.OCI{Reference: "oci://" + registry + "/charts/web", Version: "1.0.0", User: "me", Password: []byte("word"), PlainHTTP: true}
	with := func(change func(*kube.OCI)) kube.OCI { o := oci; change(&o); return o }
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	const wrong = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	archive := filepath.Join(dir, "web-1.0.0.tgz")
	noChart := filepath.Join(t.TempDir(), "none.tgz")
	require.NoError(t, os.WriteFile(noChart, []byte("none"), 0o600))
	for name, c := range map[string]struct {
		source kube.ChartSource
		kind   error
		says   string
	}{
		"no such chart":    {kube.Repository{URL: url, Name: "wib", Version: "1.0.0"}, domain.ErrNotFound, "has no such chart"},
		"no such version":  {kube.Repository{URL: url, Name: "web", Version: "2.0.0"}, domain.ErrNotFound, "has no such version"},
		"no version":       {kube.Repository{URL: url, Name: "web"}, domain.ErrInvalid, "name the chart and its version"},
		"no repository":    {kube.Repository{URL: url + "/none", Name: "web", Version: "1.0.0"}, domain.ErrNotFound, "index.yaml: 404"},
		"repository away":  {kube.Repository{URL: away.URL, Name: "web", Version: "1.0.0"}, domain.ErrUnavailable, "get http://"},
		"other digest":     {kube.Repository{URL: url, Name: "web", Version: "1.0.0", Digest: wrong}, domain.ErrConflict, wrong + " is pinned"},
		"other archive":    {kube.Archive{Path: archive, Digest: wrong}, domain.ErrConflict, wrong + " is pinned"},
		"other version":    {kube.Archive{Path: archive, Version: "3.0.0"}, domain.ErrConflict, "it is version 1.0.0, not 3.0.0"},
		"no archive":       {kube.Archive{Path: "none.tgz"}, domain.ErrNotFound, "chart none.tgz"},
		"not an archive":   {kube.Archive{Path: noChart}, domain.ErrInvalid, "no archive of a chart"},
		"no directory":     {kube.Directory{Files: os.DirFS("none"), Name: "none"}, domain.ErrNotFound, "chart directory none"},
		"no chart in it":   {kube.Directory{Files: os.DirFS(t.TempDir()), Name: "empty"}, domain.ErrInvalid, "it is no chart"},
		"no registry":      {with(func(o *kube.OCI) { o.Reference = "oci://" + away.Listener.Addr().String() + "/charts/web" }), domain.ErrUnavailable, "registry"},
		"wrong password":   {with(func(o *kube.OCI) { o.Password = []byte("other") }), domain.ErrUnauthenticated, "registry"},
		"no tag":           {with(func(o *kube.OCI) { o.Version = "2.0.0" }), domain.ErrNotFound, "registry"},
		"other OCI digest": {with(func(o *kube.OCI) { o.Digest = wrong }), domain.ErrConflict, wrong + " is pinned"},
		"no OCI reference": {with(func(o *kube.OCI) { o.Reference = registry }), domain.ErrInvalid, "oci://host/path/name"},
	} {
		_, err := c.source.Load(t.Context())
		require.ErrorIs(t, err, c.kind, name)
		require.ErrorContains(t, err, c.says, name)
		require.NotContains(t, err.Error(), "other\"", name)
	}
}

func TestRepositoryThatServesAnotherArchiveIsNoticed(t *testing.T) {
	url, dir := charttest.Repository(t, web("1.0.0"))
	changed := web("1.0.0")
	changed.Values = "replicas: 9\n"
	changed.Archive(t, dir) // the index still names the first
	_, err := kube.Repository{URL: url, Name: "web", Version: "1.0.0"}.Load(t.Context())
	require.ErrorIs(t, err, domain.ErrConflict)
}

func TestSourcesEndWithTheContext(t *testing.T) {
	started := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	_, err := kube.Repository{URL: server.URL, Name: "web", Version: "1.0.0"}.Load(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
