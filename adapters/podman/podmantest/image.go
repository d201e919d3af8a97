package podmantest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Image is an image of one layer, made from scratch.
type Image struct {
	config, manifest, layer []byte
}

// appPackage is the program that images hold.
const appPackage = "github.com/nationtech/harmony-fleet/adapters/podman/podmantest/app"

// BuildApp builds the static program of test images and returns its content.
func BuildApp(tb testing.TB) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "app")
	build := exec.CommandContext(tb.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, appPackage)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("build the program of test images: %v\n%s", err, output)
	}
	app, err := os.ReadFile(path)
	if err != nil {
		tb.Fatalf("read the program of test images: %v", err)
	}
	return app
}

// NewImage returns an image whose entrypoint is the program, at /app. marker
// makes images differ; padding adds that many incompressible bytes.
func NewImage(tb testing.TB, app []byte, marker string, padding int) Image {
	tb.Helper()
	var plain bytes.Buffer
	archive := tar.NewWriter(&plain)
	add := func(name string, mode int64, content []byte) {
		header := &tar.Header{Name: name, Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			tb.Fatalf("write a layer: %v", err)
		}
		if _, err := archive.Write(content); err != nil {
			tb.Fatalf("write a layer: %v", err)
		}
	}
	add("app", 0o755, app)
	add("marker", 0o644, []byte(marker))
	if padding > 0 {
		noise := make([]byte, padding)
		chacha := rand.NewChaCha8(sha256.Sum256([]byte(marker)))
		_, _ = chacha.Read(noise)
		add("padding", 0o644, noise)
	}
	if err := archive.Close(); err != nil {
		tb.Fatalf("write a layer: %v", err)
	}
	var packed bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	_, _ = zip.Write(plain.Bytes())
	_ = zip.Close()

	image := Image{layer: packed.Bytes()}
	image.config = encode(tb, map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "created": "2024-01-01T00:00:00Z",
		"config": map[string]any{"Entrypoint": []string{"/app"}, "Cmd": []string{"stop", "_"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(plain.Bytes())}},
	})
	image.manifest = encode(tb, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": descriptor("application/vnd.docker.container.image.v1+json", image.config),
		"layers": []any{descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", image.layer)},
	})
	return image
}

const manifestType = "application/vnd.docker.distribution.manifest.v2+json"

// Digest is that of the manifest.
func (i Image) Digest() string { return digest(i.manifest) }

// archive returns the image as "docker save" writes it.
func (i Image) archive(tb testing.TB, tag string) []byte {
	tb.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	index := encode(tb, []any{map[string]any{"Config": "config.json", "RepoTags": []string{tag}, "Layers": []string{"layer.tar"}}})
	unzip, err := gzip.NewReader(bytes.NewReader(i.layer))
	if err != nil {
		tb.Fatalf("read a layer: %v", err)
	}
	var layer bytes.Buffer
	if _, err := layer.ReadFrom(unzip); err != nil {
		tb.Fatalf("read a layer: %v", err)
	}
	for name, content := range map[string][]byte{"manifest.json": index, "config.json": i.config, "layer.tar": layer.Bytes()} {
		header := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			tb.Fatalf("write an image archive: %v", err)
		}
		_, _ = archive.Write(content)
	}
	if err := archive.Close(); err != nil {
		tb.Fatalf("write an image archive: %v", err)
	}
	return out.Bytes()
}

func descriptor(mediaType string, content []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "size": len(content), "digest": digest(content)}
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func encode(tb testing.TB, value any) []byte {
	tb.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		tb.Fatalf("encode: %v", err)
	}
	return encoded
}
