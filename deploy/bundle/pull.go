package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// LocalImage is an image in a file instead of a registry: an OCI layout, packed
// with tar or as a directory.
type LocalImage struct {
	Path string
	// Reference is that of which it is the image; by default it is the one that
	// the layout names, with or without a registry. Several for one reference are
	// its platforms.
	Reference string
}

// pulled is an image whose parts are known and not fetched yet.
type pulled struct {
	image Image
	blobs []ocispec.Descriptor
	from  content.Fetcher
}

// made adds documents that are made here to a source.
type made struct {
	content.Fetcher
	documents map[digest.Digest][]byte
}

func (m *made) Fetch(ctx context.Context, at ocispec.Descriptor) (io.ReadCloser, error) {
	if data, ok := m.documents[at.Digest]; ok {
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	return m.Fetcher.Fetch(ctx, at)
}

// each fetches from the first source that has it.
type each []content.ReadOnlyStorage

func (e each) Fetch(ctx context.Context, at ocispec.Descriptor) (io.ReadCloser, error) {
	for _, source := range e {
		if ok, err := source.Exists(ctx, at); err == nil && ok {
			return source.Fetch(ctx, at)
		}
	}
	return nil, domain.Errorf(domain.ErrNotFound, "%s is in none of the images' files", at.Digest)
}

// pull finds an image and what it consists of for the platforms.
func pull(ctx context.Context, image reference, local []layout, platforms []string) (*pulled, error) {
	from, root, err := source(ctx, image, local)
	if err != nil {
		return nil, err
	}
	if image.Digest != "" && root.Digest != image.Digest {
		return nil, domain.Errorf(domain.ErrConflict, "image %s: its file has the digest %s", image, root.Digest)
	}
	chosen, from, err := choose(ctx, from, root, platforms)
	if err != nil {
		return nil, translate(err, image.Registry, "image %s", image)
	}
	blobs, err := blobsOf(ctx, from, chosen)
	if err != nil {
		return nil, translate(err, image.Registry, "image %s", image)
	}
	return &pulled{blobs: blobs, from: from, image: Image{
		Reference: image.String(), Digest: chosen.Digest, Source: root.Digest, MediaType: chosen.MediaType, Size: chosen.Size,
	}}, nil
}

// source is where an image is: in files, or else in its registry.
func source(ctx context.Context, image reference, local []layout) (content.Fetcher, ocispec.Descriptor, error) {
	var found each
	var roots []ocispec.Descriptor
	for i := range local {
		if local[i].reference == image {
			local[i].used = true
			found, roots = append(found, local[i].store), append(roots, local[i].root)
		}
	}
	switch len(roots) {
	case 0:
		repository := upstream(image)
		root, err := repository.Resolve(ctx, image.ref())
		if err == nil && !isIndex(root.MediaType) && !isManifest(root.MediaType) {
			err = domain.Errorf(domain.ErrUnsupported, "it is a %s, and no image of OCI or Docker", root.MediaType)
		}
		return repository, root, translate(err, image.Registry, "image %s", image)
	case 1:
		return found, roots[0], nil
	}
	// Each is one platform.
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, root := range roots {
		platform, err := platformOf(ctx, found, root)
		if err != nil {
			return nil, ocispec.Descriptor{}, fmt.Errorf("image %s: %w", image, err)
		}
		index.Manifests = append(index.Manifests, ocispec.Descriptor{MediaType: root.MediaType, Digest: root.Digest, Size: root.Size, Platform: platform})
	}
	slices.SortFunc(index.Manifests, func(a, b ocispec.Descriptor) int { return strings.Compare(title(a.Platform), title(b.Platform)) })
	from, root, err := add(found, index)
	return from, root, err
}

// add makes an index part of a source.
func add(from content.Fetcher, index ocispec.Index) (content.Fetcher, ocispec.Descriptor, error) {
	data, err := json.Marshal(index)
	root := content.NewDescriptorFromBytes(index.MediaType, data)
	return &made{Fetcher: from, documents: map[digest.Digest][]byte{root.Digest: data}}, root, err
}

// ref is the digest, or else the tag.
func (r reference) ref() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// choose leaves the platforms that are not wanted out of an image. One of whose
// platforms all are wanted stays as it is.
func choose(ctx context.Context, from content.Fetcher, root ocispec.Descriptor, platforms []string) (ocispec.Descriptor, content.Fetcher, error) {
	if len(platforms) == 0 {
		return root, from, nil
	}
	if isManifest(root.MediaType) {
		platform, err := platformOf(ctx, from, root)
		if err == nil && (len(platforms) > 1 || !fits(platform, platforms[0])) {
			err = missing(platforms, title(platform))
		}
		return root, from, err
	}
	data, err := fetchDocument(ctx, from, root)
	if err != nil {
		return root, from, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return root, from, domain.WrapError(domain.ErrInvalid, err, "index %s", root.Digest)
	}
	var kept []ocispec.Descriptor
	var have []string
	for _, manifest := range index.Manifests {
		if manifest.Platform != nil && manifest.Platform.OS != "unknown" {
			have = append(have, title(manifest.Platform))
		}
		if slices.ContainsFunc(platforms, func(wanted string) bool { return fits(manifest.Platform, wanted) }) {
			kept = append(kept, manifest)
		}
	}
	for _, wanted := range platforms {
		if !slices.ContainsFunc(kept, func(m ocispec.Descriptor) bool { return fits(m.Platform, wanted) }) {
			return root, from, missing([]string{wanted}, strings.Join(have, ", "))
		}
	}
	if len(kept) == len(index.Manifests) {
		return root, from, nil
	}
	index.Manifests, index.MediaType = kept, root.MediaType
	changed, root, err := add(from, index)
	return root, changed, err
}

func missing(platforms []string, have string) error {
	return deploy.WithNext(domain.Errorf(domain.ErrNotFound, "it is not there for %s, but for %s", strings.Join(platforms, " and "), have),
		"leave that platform out of --platform, or name an image that has it")
}

// fits says whether a platform is the wanted one: os/architecture[/variant].
func fits(platform *ocispec.Platform, wanted string) bool {
	return platform != nil && (title(platform) == wanted || platform.OS+"/"+platform.Architecture == wanted)
}

func title(platform *ocispec.Platform) string {
	if platform == nil {
		return "no platform"
	}
	return strings.TrimSuffix(platform.OS+"/"+platform.Architecture+"/"+platform.Variant, "/")
}

// platformOf reads the platform of a manifest in its configuration.
func platformOf(ctx context.Context, from content.Fetcher, at ocispec.Descriptor) (*ocispec.Platform, error) {
	if !isManifest(at.MediaType) {
		return nil, domain.Errorf(domain.ErrInvalid, "its file has an index, which cannot be put together with others")
	}
	children, err := childrenOf(ctx, from, at)
	if err != nil {
		return nil, err
	}
	data, err := fetchDocument(ctx, from, children[0])
	if err != nil {
		return nil, err
	}
	var platform ocispec.Platform
	if err := json.Unmarshal(data, &platform); err != nil || platform.OS == "" || platform.Architecture == "" {
		return nil, domain.Errorf(domain.ErrInvalid, "its configuration names no platform")
	}
	return &ocispec.Platform{OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant}, nil
}

// layout is a LocalImage that was opened.
type layout struct {
	path      string
	reference reference
	store     content.ReadOnlyStorage
	root      ocispec.Descriptor
	used      bool
}

// openLayout finds the image of a file among the images that are asked for.
func openLayout(ctx context.Context, image LocalImage, wanted []string) (layout, error) {
	fail := func(err error) (layout, error) {
		return layout{}, deploy.WithNext(domain.WrapError(domain.ErrInvalid, err, "image file %s", image.Path),
			"name an OCI layout, as make images, skopeo copy oci-archive: and podman save --format oci-archive write it")
	}
	info, err := os.Stat(image.Path)
	if err != nil {
		return fail(err)
	}
	var store *oci.ReadOnlyStore
	if info.IsDir() {
		store, err = oci.NewFromFS(ctx, os.DirFS(image.Path))
	} else {
		store, err = oci.NewFromTar(ctx, image.Path)
	}
	if err != nil {
		return fail(err)
	}
	var names []string
	if err := store.Tags(ctx, "", func(tags []string) error { names = append(names, tags...); return nil }); err != nil {
		return fail(err)
	}
	for _, name := range names {
		root, err := store.Resolve(ctx, name)
		if err != nil {
			return fail(err)
		}
		root = ocispec.Descriptor{MediaType: root.MediaType, Digest: root.Digest, Size: root.Size}
		for _, text := range wanted {
			asked, err := parseReference(text)
			if err == nil && image.stands(asked, name, len(names)) {
				return layout{path: image.Path, reference: asked, store: store, root: root}, nil
			}
		}
	}
	return layout{}, deploy.WithNext(domain.Errorf(domain.ErrNotFound, "image file %s: no release uses %s", image.Path, strings.Join(append(names, image.Reference), " ")),
		"say which image it is: --image REFERENCE=%s", image.Path)
}

// stands says whether the image of a name in the file is the one that is asked for.
func (l LocalImage) stands(asked reference, name string, of int) bool {
	if l.Reference != "" {
		given, err := parseReference(l.Reference)
		return err == nil && given == asked && (of == 1 || name == l.Reference)
	}
	named, err := parseReference(name)
	if err != nil {
		return false
	}
	return named == asked || strings.HasSuffix(asked.String(), "/"+name)
}
