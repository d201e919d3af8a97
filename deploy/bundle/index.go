package bundle

import (
	"encoding/json"
	"io/fs"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony-fleet/domain"
)

// Format names the format of an archive, and IndexFile is its first entry.
const (
	Format    = "harmony-fleet-bundle/1"
	IndexFile = "bundle.json"
)

// Names of the other entries. Those of the images make the archive an OCI image
// layout as well, which other tools read.
const (
	layoutFile = "oci-layout"
	imagesFile = "index.json"
	chartsDir  = "charts/"
	blobsDir   = "blobs/sha256/"
)

// Bounds of what is read into memory.
const (
	maxIndex    = 16 << 20
	maxManifest = 4 << 20
	maxChart    = 32 << 20
)

// Index says what an archive holds. It names everything by its digest, so that
// whoever trusts the index can trust the rest.
type Index struct {
	Format string `json:"format"`
	// Platforms of the images, such as "linux/arm64"; empty for all that they have.
	Platforms []string `json:"platforms,omitempty"`
	Charts    []Chart  `json:"charts"`
	Images    []Image  `json:"images"`
	// Entries are all that follow the index, in their order.
	Entries []Entry `json:"entries"`
}

// Chart is a chart in an archive.
type Chart struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Digest is kube.Chart's, by which charts are pinned.
	Digest string `json:"digest"`
	Entry  string `json:"entry"`
	// Releases are those that are made of it, as namespace/name.
	Releases []string `json:"releases"`
}

// Image is a container image in an archive.
type Image struct {
	// Reference is its full name, such as "docker.io/library/nats:2.14.2-alpine".
	Reference string `json:"reference"`
	// Digest is that of its manifest or index. Source is that where it came from,
	// which is another when not all platforms were taken.
	Digest    digest.Digest `json:"digest"`
	Source    digest.Digest `json:"source"`
	MediaType string        `json:"mediaType"`
	// Size is that of the manifest or index.
	Size int64 `json:"size"`
}

// Entry is a file in an archive.
type Entry struct {
	Name   string        `json:"name"`
	Size   int64         `json:"size"`
	Digest digest.Digest `json:"digest"`
}

func blobEntry(d digest.Digest) string { return blobsDir + d.Encoded() }

// parseIndex decodes an index and checks that it agrees with itself.
func parseIndex(data []byte) (*Index, error) {
	var index Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "%s", IndexFile)
	}
	if index.Format != Format {
		return nil, domain.Errorf(domain.ErrUnsupported, "its format is %q, and this program reads %q", index.Format, Format)
	}
	entries := map[string]Entry{}
	for _, entry := range index.Entries {
		if err := entry.check(); err != nil {
			return nil, err
		}
		if _, ok := entries[entry.Name]; ok {
			return nil, domain.Errorf(domain.ErrInvalid, "%s names the entry %s twice", IndexFile, entry.Name)
		}
		entries[entry.Name] = entry
	}
	for _, chart := range index.Charts {
		if entry, ok := entries[chart.Entry]; !ok || entry.Size > maxChart {
			return nil, domain.Errorf(domain.ErrInvalid, "%s: chart %q has no entry", IndexFile, chart.Name)
		}
	}
	for _, image := range index.Images {
		if err := image.check(entries); err != nil {
			return nil, err
		}
	}
	return &index, nil
}

// check refuses names by which an entry could be taken for something else.
func (e Entry) check() error {
	known := e.Name == layoutFile || e.Name == imagesFile || strings.HasPrefix(e.Name, chartsDir) || strings.HasPrefix(e.Name, blobsDir)
	switch {
	case !known || !fs.ValidPath(e.Name) || strings.ContainsAny(e.Name, "\\\x00"):
		return domain.Errorf(domain.ErrInvalid, "%s names the entry %q, which has no place in it", IndexFile, e.Name)
	case e.Size < 0 || !validDigest(e.Digest):
		return domain.Errorf(domain.ErrInvalid, "%s: entry %s has no size or no digest", IndexFile, e.Name)
	case strings.HasPrefix(e.Name, blobsDir) && e.Name != blobEntry(e.Digest):
		return domain.Errorf(domain.ErrInvalid, "%s: entry %s has another digest than its name says", IndexFile, e.Name)
	}
	return nil
}

func (i Image) check(entries map[string]Entry) error {
	if _, err := parseReference(i.Reference); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "%s", IndexFile)
	}
	if !validDigest(i.Digest) || i.Size > maxManifest || entries[blobEntry(i.Digest)].Size != i.Size || !isManifest(i.MediaType) && !isIndex(i.MediaType) {
		return domain.Errorf(domain.ErrInvalid, "%s: image %s has no entry", IndexFile, i.Reference)
	}
	return nil
}

func validDigest(d digest.Digest) bool {
	return d.Validate() == nil && d.Algorithm() == digest.SHA256
}

// image returns the image of a reference as a chart writes it.
func (i *Index) image(text string) (Image, error) {
	reference, err := parseReference(text)
	if err != nil {
		return Image{}, err
	}
	at := slices.IndexFunc(i.Images, func(image Image) bool { return image.Reference == reference.String() })
	if at < 0 {
		return Image{}, domain.Errorf(domain.ErrNotFound, "it has no image %s", reference)
	}
	return i.Images[at], nil
}
