// Package charttest makes charts and serves them to tests, as a repository over
// HTTP and as a registry, on loopback.
package charttest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/registry"
	"helm.sh/helm/v3/pkg/repo"
	"sigs.k8s.io/yaml"
)

// Chart is a chart to make.
type Chart struct {
	Name    string
	Version string
	// Values is values.yaml.
	Values string
	// Templates are by their file names.
	Templates map[string]string
}

func (c Chart) build(tb testing.TB) *chart.Chart {
	tb.Helper()
	built := &chart.Chart{
		Metadata: &chart.Metadata{APIVersion: chart.APIVersionV2, Name: c.Name, Version: c.Version, AppVersion: c.Version},
		Raw:      []*chart.File{{Name: chartutil.ValuesfileName, Data: []byte(c.Values)}},
		Values:   map[string]any{},
	}
	if err := yaml.Unmarshal([]byte(c.Values), &built.Values); err != nil {
		tb.Fatalf("values of chart %s: %v", c.Name, err)
	}
	for name, text := range c.Templates {
		built.Templates = append(built.Templates, &chart.File{Name: "templates/" + name, Data: []byte(text)})
	}
	return built
}

// Archive writes the chart's .tgz into dir and returns its path.
func (c Chart) Archive(tb testing.TB, dir string) string {
	tb.Helper()
	path, err := chartutil.Save(c.build(tb), dir)
	if err != nil {
		tb.Fatalf("save chart %s: %v", c.Name, err)
	}
	return path
}

// Directory writes the chart unpacked and returns its directory.
func (c Chart) Directory(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := chartutil.SaveDir(c.build(tb), dir); err != nil {
		tb.Fatalf("save chart %s: %v", c.Name, err)
	}
	return filepath.Join(dir, c.Name)
}

// Digest returns the digest of an archive as charts are pinned by it.
func Digest(tb testing.TB, path string) string {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return digest(data)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Repository serves charts as a repository does and returns its URL and the
// directory of its files.
func Repository(tb testing.TB, charts ...Chart) (url, dir string) {
	tb.Helper()
	dir = tb.TempDir()
	for _, c := range charts {
		c.Archive(tb, dir)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	tb.Cleanup(server.Close)
	index, err := repo.IndexDirectory(dir, "")
	if err == nil {
		err = index.WriteFile(filepath.Join(dir, "index.yaml"), 0o600)
	}
	if err != nil {
		tb.Fatalf("index the charts: %v", err)
	}
	return server.URL, dir
}

// Registry serves charts as a registry of containers does, to those who log in
// with user and password when user is set, and returns its host and port.
func Registry(tb testing.TB, user, password string, charts ...Chart) string {
	tb.Helper()
	content := map[string][]byte{} // by path
	types := map[string]string{}
	for _, c := range charts {
		archive, err := os.ReadFile(c.Archive(tb, tb.TempDir()))
		if err != nil {
			tb.Fatal(err)
		}
		config, err := json.Marshal(c.build(tb).Metadata)
		if err != nil {
			tb.Fatal(err)
		}
		const manifestType = "application/vnd.oci.image.manifest.v1+json"
		descriptor := func(kind string, data []byte) map[string]any {
			content["/v2/charts/"+c.Name+"/blobs/"+digest(data)] = data
			return map[string]any{"mediaType": kind, "digest": digest(data), "size": len(data)}
		}
		manifest, err := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": manifestType,
			"config": descriptor(registry.ConfigMediaType, config),
			"layers": []any{descriptor(registry.ChartLayerMediaType, archive)},
		})
		if err != nil {
			tb.Fatal(err)
		}
		for _, reference := range []string{strings.ReplaceAll(c.Version, "+", "_"), digest(manifest)} {
			path := "/v2/charts/" + c.Name + "/manifests/" + reference
			content[path], types[path] = manifest, manifestType
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, word, _ := r.BasicAuth(); user != "" && (name != user || word != password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="charts"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		data, ok := content[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if kind := types[r.URL.Path]; kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		w.Header().Set("Docker-Content-Digest", digest(data))
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data)
	}))
	tb.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
