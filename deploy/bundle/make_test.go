package bundle_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"oras.land/oras-go/v2/content/oci"

	"github.com/nationtech/harmony-fleet/deploy/bundle"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
	"github.com/nationtech/harmony-fleet/domain"
)

// web is a chart whose images come from a registry: one of a pod, one of a hook
// that runs before, one of what is off by default, and one of the chart's test.
func web(host string) charttest.Chart {
	return charttest.Chart{
		Name: "web", Version: "1.0.0",
		Values: "exporter: false\npassword: none\n",
		Templates: map[string]string{
			"deployment.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}, annotations: {note: "image: untouched"}}
spec:
  selector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
    spec:
      initContainers: [{name: init, image: "` + host + `/web/init:1"}]
      containers:
        - {name: web, image: "` + host + `/web/server:1"}
        {{- if .Values.exporter }}
        - {name: exporter, image: "` + host + `/web/exporter:1"}
        {{- end }}
`,
			"config.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {password: {{ .Values.password | quote }}}
`,
			"hook.yaml": `apiVersion: batch/v1
kind: Job
metadata: {name: {{ .Release.Name }}-setup, annotations: {helm.sh/hook: "pre-install,pre-upgrade"}}
spec:
  template:
    metadata: {labels: {job: setup}}
    spec:
      restartPolicy: Never
      containers: [{name: setup, image: "` + host + `/web/setup:1"}]
`,
			"test.yaml": `apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}-test, annotations: {helm.sh/hook: test}}
spec: {containers: [{name: test, image: "` + host + `/web/none:1"}]}
`,
		},
	}
}

const secret = "the-password-of-the-site"

// fixture is a registry with the images of web, and a release of it.
func fixture(t *testing.T) (*charttest.Images, *kube.Release) {
	t.Helper()
	registry := charttest.NewImages(t)
	registry.Push(t, "web/server:1", "linux/amd64", "linux/arm64", "linux/s390x")
	registry.Push(t, "web/init:1", "linux/amd64", "linux/arm64")
	registry.Push(t, "web/setup:1", "linux/amd64", "linux/arm64")
	return registry, &kube.Release{
		Namespace: "fleet", Name: "web", Values: map[string]any{"password": secret},
		Source: kube.Archive{Path: web(registry.Host).Archive(t, t.TempDir())},
	}
}

func makeBundle(t *testing.T, release *kube.Release, options bundle.Options) (bundle.Summary, error) {
	t.Helper()
	return bundle.Make(t.Context(), filepath.Join(t.TempDir(), "site.bundle"), []*kube.Release{release}, options)
}

func TestMake(t *testing.T) {
	registry, release := fixture(t)
	var notes []string
	made, err := makeBundle(t, release, bundle.Options{Progress: func(note string) { notes = append(notes, note) }})
	require.NoError(t, err)
	require.Len(t, made.Charts, 1)
	require.Equal(t, []string{"fleet/web"}, made.Charts[0].Releases)
	var references []string
	for _, image := range made.Images {
		references = append(references, image.Reference)
		require.Equal(t, image.Source, image.Digest, "all platforms were taken")
	}
	require.Equal(t, []string{registry.Host + "/web/init:1", registry.Host + "/web/server:1", registry.Host + "/web/setup:1"}, references)
	require.Contains(t, notes, "look up image 2/3 "+registry.Host+"/web/server:1")
	info, err := os.Stat(made.Path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode())
	require.Equal(t, made.Size, info.Size())
	files, err := os.ReadDir(filepath.Dir(made.Path))
	require.NoError(t, err)
	require.Len(t, files, 1, "nothing else stays")

	data, err := os.ReadFile(made.Path)
	require.NoError(t, err)
	require.NotContains(t, string(data), secret)

	opened, err := bundle.Open(made.Path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close()) })
	require.NoError(t, opened.Verify(t.Context(), func(string) {}))

	// It is an OCI layout for other programs.
	layout, err := oci.NewFromTar(t.Context(), made.Path)
	require.NoError(t, err)
	_, err = layout.Resolve(t.Context(), registry.Host+"/web/server:1")
	require.NoError(t, err)

	again, err := makeBundle(t, release, bundle.Options{})
	require.NoError(t, err)
	require.Equal(t, made.Digest, again.Digest)
}

func TestMakeOfADirectory(t *testing.T) {
	registry, release := fixture(t)
	release.Source = kube.Directory{Files: os.DirFS(web(registry.Host).Directory(t)), Name: "web"}
	chart, err := release.Source.Load(t.Context())
	require.NoError(t, err)
	made, err := makeBundle(t, release, bundle.Options{})
	require.NoError(t, err)
	require.Equal(t, chart.Digest, made.Charts[0].Digest, "so that it is the same chart from the bundle")
	opened, err := bundle.Open(made.Path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close()) })
	require.NoError(t, opened.Verify(t.Context(), func(string) {}))
}

func TestMakeForPlatforms(t *testing.T) {
	_, release := fixture(t)
	all, err := makeBundle(t, release, bundle.Options{Platforms: []string{"linux/arm64", "linux/amd64"}})
	require.NoError(t, err)
	for _, image := range all.Images { // init and setup have no others
		require.Equal(t, filepath.Base(image.Reference) == "server:1", image.Digest != image.Source, image.Reference)
	}
	one, err := makeBundle(t, release, bundle.Options{Platforms: []string{"linux/arm64"}})
	require.NoError(t, err)
	require.Less(t, one.Size, all.Size)
	_, err = makeBundle(t, release, bundle.Options{Platforms: []string{"linux/s390x"}})
	require.ErrorIs(t, err, domain.ErrNotFound)
	require.ErrorContains(t, err, "/web/init:1: it is not there for linux/s390x, but for linux/amd64, linux/arm64")
	_, err = makeBundle(t, release, bundle.Options{Platforms: []string{"arm64"}})
	require.ErrorIs(t, err, domain.ErrInvalid)
}

// layoutFile makes a bundle of the release whose file is an image's as well.
func layoutFile(t *testing.T, release *kube.Release) string {
	t.Helper()
	made, err := makeBundle(t, release, bundle.Options{})
	require.NoError(t, err)
	return made.Path
}

func TestMakeFromFiles(t *testing.T) {
	registry := charttest.NewImages(t)
	chart := func(image string) *kube.Release {
		return &kube.Release{Namespace: "fleet", Name: "one", Source: kube.Archive{Path: charttest.Chart{
			Name: "one", Version: "1.0.0",
			Templates: map[string]string{"pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec: {containers: [{name: one, image: \"" + image + "\"}]}\n"},
		}.Archive(t, t.TempDir())}}
	}
	amd := registry.Push(t, "local/one:amd64", "linux/amd64")
	registry.Push(t, "local/one:arm64", "linux/arm64")
	files := []bundle.LocalImage{
		{Path: layoutFile(t, chart(registry.Host+"/local/one:amd64")), Reference: "registry.invalid/one:1"},
		{Path: layoutFile(t, chart(registry.Host+"/local/one:arm64")), Reference: "registry.invalid/one:1"},
	}
	named := bundle.LocalImage{Path: layoutFile(t, chart(registry.Host+"/local/one:amd64"))}
	registry.Close()

	made, err := makeBundle(t, chart("registry.invalid/one:1"), bundle.Options{Images: files, Platforms: []string{"linux/amd64", "linux/arm64"}})
	require.NoError(t, err)
	require.Equal(t, "application/vnd.oci.image.index.v1+json", made.Images[0].MediaType)
	made, err = makeBundle(t, chart("registry.invalid/one:1"), bundle.Options{Images: files[:1]})
	require.NoError(t, err)
	require.Equal(t, amd, made.Images[0].Digest)
	made, err = makeBundle(t, chart(registry.Host+"/local/one:amd64"), bundle.Options{Images: []bundle.LocalImage{named}})
	require.NoError(t, err)
	require.Equal(t, amd, made.Images[0].Digest)

	_, err = makeBundle(t, chart("registry.invalid/two:1"), bundle.Options{Images: []bundle.LocalImage{named}})
	require.ErrorContains(t, err, "no release uses "+registry.Host+"/local/one:amd64")
	pinned := "registry.invalid/one@sha256:" + string(bytes.Repeat([]byte("0"), 64))
	_, err = makeBundle(t, chart(pinned), bundle.Options{Images: []bundle.LocalImage{{Path: named.Path, Reference: pinned}}})
	require.ErrorIs(t, err, domain.ErrConflict)
	_, err = makeBundle(t, chart(registry.Host+"/local/one:amd64"), bundle.Options{})
	require.ErrorIs(t, err, domain.ErrUnavailable, "the registry is away")
	_, err = makeBundle(t, chart("Bad Image"), bundle.Options{})
	require.ErrorIs(t, err, domain.ErrInvalid)
	_, err = makeBundle(t, chart("registry.invalid/one:1"), bundle.Options{Images: []bundle.LocalImage{{Path: "/nonexistent"}}})
	require.ErrorContains(t, err, "image file /nonexistent")
}

func TestAFailedMakeLeavesTheFormerFile(t *testing.T) {
	registry, release := fixture(t)
	path := filepath.Join(t.TempDir(), "site.bundle")
	require.NoError(t, os.WriteFile(path, []byte("former"), 0o600))
	// A blob goes away after its manifest was read.
	_, err := bundle.Make(t.Context(), path, []*kube.Release{release}, bundle.Options{Progress: func(note string) {
		if len(note) > 7 && note[:8] == "write 3/" {
			registry.Close()
		}
	}})
	require.ErrorIs(t, err, domain.ErrUnavailable)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "former", string(data))
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1)
}

// entry is a part of an archive that is written by hand.
type entry struct {
	header tar.Header
	data   []byte
}

func entries(t *testing.T, path string) []entry {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	reader := tar.NewReader(file)
	var found []entry
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		data, err := io.ReadAll(reader)
		require.NoError(t, err)
		found = append(found, entry{header: *header, data: data})
	}
}

func archive(t *testing.T, parts []entry) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, part := range parts {
		part.header.Size = int64(len(part.data))
		require.NoError(t, w.WriteHeader(&part.header))
		_, err := w.Write(part.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	path := filepath.Join(t.TempDir(), "spoilt.bundle")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

func TestSpoiltArchivesAreRefused(t *testing.T) {
	_, release := fixture(t)
	made, err := makeBundle(t, release, bundle.Options{})
	require.NoError(t, err)
	parts := func() []entry { return entries(t, made.Path) }
	replaced := func(from, to string) []entry {
		p := parts()
		require.Contains(t, string(p[0].data), from)
		p[0].data = bytes.Replace(p[0].data, []byte(from), []byte(to), 1)
		return p
	}
	swapped := parts()
	swapped[1], swapped[2] = swapped[2], swapped[1]
	renamed := parts()
	renamed[1].header.Name = "../../etc/passwd"
	link := parts()
	link[1].header.Typeflag, link[1].header.Linkname, link[1].data = tar.TypeSymlink, "/etc/passwd", nil
	for says, spoilt := range map[string][]entry{
		"cut off before the entry index.json":    parts()[:len(parts())-2],
		"which bundle.json does not name":        append(parts(), entry{header: tar.Header{Name: "more", Mode: 0o644}}),
		"has to be":                              swapped,
		`it has the entry "../../etc/passwd"`:    renamed,
		"is no plain file":                       link,
		"which has no place in it":               replaced(`"name": "charts/`, `"name": "charts/../../../`),
		"another digest than its name says":      replaced(`"name": "blobs/sha256/`, `"name": "blobs/sha256/0`),
		`its format is "harmony-fleet-bundle/2"`: replaced("-bundle/1", "-bundle/2"),
		"where bundle.json has to be":            parts()[1:],
		"has no entry":                           replaced(`"entry": "charts/`, `"entry": "charts/x`),
		"it is no bundle, or cut off":            nil,
		"bundle.json: invalid character":         replaced("{", "["),
		"and bundle.json says":                   replaced("\"name\": \"oci-layout\",\n      \"size\": ", "\"name\": \"oci-layout\",\n      \"size\": 1"),
	} {
		path := filepath.Join(t.TempDir(), "none")
		if spoilt == nil {
			require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("no archive "), 100), 0o600))
		} else {
			path = archive(t, spoilt)
		}
		_, err := bundle.Open(path)
		require.ErrorContains(t, err, says)
	}
	data, err := os.ReadFile(made.Path)
	require.NoError(t, err)
	for _, size := range []int{0, 100, 512, 5000, len(data) / 2, len(data) - 2048} {
		path := filepath.Join(t.TempDir(), "cut")
		require.NoError(t, os.WriteFile(path, data[:size], 0o600))
		_, err := bundle.Open(path)
		require.ErrorIs(t, err, domain.ErrInvalid, "cut to %d of %d", size, len(data))
	}
	_, err = bundle.Open("/nonexistent")
	require.ErrorIs(t, err, domain.ErrNotFound)
}

// TestEveryChangedEntryIsNoticed changes one byte of each entry in turn.
func TestEveryChangedEntryIsNoticed(t *testing.T) {
	_, release := fixture(t)
	made, err := makeBundle(t, release, bundle.Options{})
	require.NoError(t, err)
	count := len(entries(t, made.Path))
	require.Greater(t, count, 10)
	for i := 1; i < count; i++ {
		parts := entries(t, made.Path)
		parts[i].data[len(parts[i].data)/2] ^= 1
		opened, err := bundle.Open(archive(t, parts))
		require.NoError(t, err)
		err = opened.Verify(t.Context(), func(string) {})
		require.ErrorIs(t, err, domain.ErrConflict, parts[i].header.Name)
		require.ErrorContains(t, err, "entry "+parts[i].header.Name+" is not what bundle.json says")
		require.NoError(t, opened.Close())
	}
}
