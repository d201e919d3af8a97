package bundle

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

func (i Image) descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: i.MediaType, Digest: i.Digest, Size: i.Size}
}

// fetchDocument reads a manifest, an index or a configuration, and verifies it.
func fetchDocument(ctx context.Context, from content.Fetcher, at ocispec.Descriptor) ([]byte, error) {
	if at.Size > maxManifest || !validDigest(at.Digest) {
		return nil, domain.Errorf(domain.ErrInvalid, "%s %s is larger than %d MiB or has no SHA-256 digest", at.MediaType, at.Digest, maxManifest>>20)
	}
	return content.FetchAll(ctx, from, at)
}

// blobsOf returns all that an image consists of, each before what names it, and
// once: its last element is the image's own manifest or index.
func blobsOf(ctx context.Context, from content.Fetcher, root ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	w := &walk{from: from, seen: map[string]bool{}}
	if err := w.visit(ctx, root, 0); err != nil {
		return nil, err
	}
	return w.found, nil
}

type walk struct {
	from  content.Fetcher
	seen  map[string]bool
	found []ocispec.Descriptor
}

// maxDepth bounds indexes of indexes.
const maxDepth = 3

func (w *walk) visit(ctx context.Context, at ocispec.Descriptor, depth int) error {
	if depth > maxDepth {
		return domain.Errorf(domain.ErrInvalid, "its indexes name each other too deeply")
	}
	if w.seen[at.Digest.String()] {
		return nil
	}
	w.seen[at.Digest.String()] = true
	children, err := childrenOf(ctx, w.from, at)
	if err != nil {
		return err
	}
	for _, child := range children {
		if !validDigest(child.Digest) || child.Size < 0 {
			return domain.Errorf(domain.ErrInvalid, "%s names %q, which is no SHA-256 digest", at.Digest, child.Digest)
		}
		if strings.Contains(child.MediaType, "nondistributable") || strings.Contains(child.MediaType, ".foreign.") {
			return deploy.WithNext(domain.Errorf(domain.ErrUnsupported, "%s has a layer that must not be passed on, as images of Windows do", at.Digest),
				"leave that platform out: --platform linux/amd64, for example")
		}
		if err := w.visit(ctx, child, depth+1); err != nil {
			return err
		}
	}
	w.found = append(w.found, at)
	return nil
}

// childrenOf returns what a manifest or index names; nothing for a blob.
func childrenOf(ctx context.Context, from content.Fetcher, at ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if !isIndex(at.MediaType) && !isManifest(at.MediaType) {
		return nil, nil
	}
	data, err := fetchDocument(ctx, from, at)
	if err != nil {
		return nil, err
	}
	if isIndex(at.MediaType) {
		var index ocispec.Index
		if err := json.Unmarshal(data, &index); err != nil {
			return nil, domain.WrapError(domain.ErrInvalid, err, "index %s", at.Digest)
		}
		return index.Manifests, nil
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "manifest %s", at.Digest)
	}
	return append([]ocispec.Descriptor{manifest.Config}, manifest.Layers...), nil
}

// resuming reads a blob and, when the connection breaks, goes on where it was.
type resuming struct {
	ctx    context.Context //nolint:containedctx // it is that of one blob
	from   content.Fetcher
	blob   ocispec.Descriptor
	reader io.ReadCloser
	at     int64
	breaks int
}

// maxBreaks is how often a connection may break without anything that came.
const maxBreaks = 4

func (r *resuming) Read(p []byte) (int, error) {
	for {
		if r.reader == nil {
			if err := r.open(); err != nil {
				return 0, err
			}
		}
		n, err := r.reader.Read(p)
		r.at += int64(n)
		if n > 0 {
			r.breaks = 0
			return n, nil
		}
		if err == nil || r.at >= r.blob.Size || r.ctx.Err() != nil {
			return 0, err
		}
		if r.breaks++; r.breaks >= maxBreaks {
			return 0, fmt.Errorf("after %d of %d bytes: %w", r.at, r.blob.Size, io.ErrUnexpectedEOF)
		}
		_ = r.Close() // it broke
		r.reader = nil
	}
}

func (r *resuming) open() error {
	reader, err := r.from.Fetch(r.ctx, r.blob)
	if err != nil {
		return err
	}
	if seeker, ok := reader.(io.Seeker); ok && r.at > 0 {
		_, err = seeker.Seek(r.at, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, reader, r.at)
	}
	r.reader = reader
	return err
}

func (r *resuming) Close() error {
	if r.reader == nil {
		return nil
	}
	return r.reader.Close()
}
