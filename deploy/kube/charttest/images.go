package charttest

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	ocidigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// Images is a registry of container images on loopback, without TLS.
type Images struct {
	// Host is its host and port.
	Host   string
	server *httptest.Server
}

// NewImages starts an empty registry.
func NewImages(tb testing.TB) *Images {
	tb.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	tb.Cleanup(server.Close)
	return &Images{Host: strings.TrimPrefix(server.URL, "http://"), server: server}
}

// Close makes it unreachable.
func (i *Images) Close() { i.server.Close() }

// Repository opens one of its repositories.
func (i *Images) Repository(name string) *remote.Repository {
	return &remote.Repository{
		Client: &auth.Client{}, PlainHTTP: true, Reference: oras.Reference{Registry: i.Host, Repository: name},
	}
}

// Push puts a small image there, such as "library/web:1.0.0", and returns the
// digest of its manifest or, for several platforms, of its index.
func (i *Images) Push(tb testing.TB, name string, platforms ...string) ocidigest.Digest {
	tb.Helper()
	path, tag, _ := strings.Cut(name, ":")
	repository := i.Repository(path)
	push := func(mediaType string, data []byte, reference string) ocispec.Descriptor {
		at := content.NewDescriptorFromBytes(mediaType, data)
		err := error(nil)
		if reference == "" {
			err = repository.Push(tb.Context(), at, bytes.NewReader(data))
		} else {
			err = repository.PushReference(tb.Context(), at, bytes.NewReader(data), reference)
		}
		if err != nil {
			tb.Fatalf("push %s: %v", name, err)
		}
		return at
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, platform := range platforms {
		reference := ""
		if len(platforms) == 1 {
			reference = tag
		}
		config, manifest := imageOf(tb, name, platform)
		for _, blob := range [][]byte{config, layerOf(name, platform)} {
			push("application/octet-stream", blob, "")
		}
		at := push(ocispec.MediaTypeImageManifest, manifest, reference)
		if len(platforms) == 1 {
			return at.Digest
		}
		system, architecture, _ := strings.Cut(platform, "/")
		at.Platform = &ocispec.Platform{OS: system, Architecture: architecture}
		index.Manifests = append(index.Manifests, at)
	}
	return push(ocispec.MediaTypeImageIndex, marshal(tb, index), tag).Digest
}

func layerOf(name, platform string) []byte {
	return []byte("the program of " + name + " for " + platform)
}

// imageOf returns the configuration and the manifest of an image.
func imageOf(tb testing.TB, name, platform string) (config, manifest []byte) {
	tb.Helper()
	system, architecture, _ := strings.Cut(platform, "/")
	config = marshal(tb, ocispec.Image{
		Platform: ocispec.Platform{OS: system, Architecture: architecture},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []ocidigest.Digest{ocidigest.FromBytes(layerOf(name, platform))}},
	})
	return config, marshal(tb, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: content.NewDescriptorFromBytes(ocispec.MediaTypeImageConfig, config),
		Layers: []ocispec.Descriptor{content.NewDescriptorFromBytes(ocispec.MediaTypeImageLayer, layerOf(name, platform))},
	})
}

func marshal(tb testing.TB, document any) []byte {
	tb.Helper()
	data, err := json.Marshal(document)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}
