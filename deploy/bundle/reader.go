package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// Bundle is an archive that was opened. It may be used by several goroutines.
type Bundle struct {
	Index Index
	path  string
	from  io.ReaderAt
	// places are those of the entries' contents, by name.
	places  map[string]place
	closing io.Closer
}

type place struct {
	entry  Entry
	offset int64
}

// Open opens an archive and checks that it is whole: that it has what its index
// names, in that order, and nothing else. What an entry holds is compared with
// the index when it is read. It is domain.ErrNotFound when there is no such file,
// domain.ErrInvalid when it is none or damaged, and domain.ErrUnsupported when it
// is of another format.
func Open(path string) (*Bundle, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, deploy.WithNext(domain.WrapError(domain.ErrNotFound, err, "bundle"), "make it where the Internet is: fleet-deploy bundle")
	}
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	info, err := file.Stat()
	if err == nil {
		var b *Bundle
		if b, err = read(file, info.Size()); err == nil {
			b.path, b.closing = path, file
			return b, nil
		}
	}
	return nil, errors.Join(damaged(fmt.Errorf("bundle %s: %w", path, err)), file.Close())
}

func damaged(err error) error {
	return deploy.WithNext(err, "copy it again, and compare its digest with the one that was printed when it was made")
}

// Close closes the file.
func (b *Bundle) Close() error { return b.closing.Close() }

// read finds the entries of an archive.
func read(from io.ReaderAt, size int64) (*Bundle, error) {
	section := io.NewSectionReader(from, 0, size)
	archive := tar.NewReader(section)
	header, err := next(archive, IndexFile)
	if err != nil {
		return nil, err
	}
	if header.Size > maxIndex {
		return nil, domain.Errorf(domain.ErrInvalid, "%s is larger than %d MiB", IndexFile, maxIndex>>20)
	}
	data := make([]byte, header.Size)
	if _, err := io.ReadFull(archive, data); err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "%s is cut off", IndexFile)
	}
	index, err := parseIndex(data)
	if err != nil {
		return nil, err
	}
	b := &Bundle{Index: *index, from: from, places: map[string]place{}}
	for _, entry := range index.Entries {
		header, err := next(archive, entry.Name)
		if err != nil {
			return nil, err
		}
		offset, err := section.Seek(0, io.SeekCurrent) // the tar reader reads no further than the header
		if err != nil {
			return nil, err
		}
		if header.Size != entry.Size {
			return nil, domain.Errorf(domain.ErrInvalid, "entry %s has %d bytes, and %s says %d", entry.Name, header.Size, IndexFile, entry.Size)
		}
		if entry.Size > size-offset {
			return nil, domain.Errorf(domain.ErrInvalid, "it is cut off in the entry %s", entry.Name)
		}
		b.places[entry.Name] = place{entry: entry, offset: offset}
	}
	switch header, err := archive.Next(); {
	case err == nil:
		return nil, domain.Errorf(domain.ErrInvalid, "it has the entry %q, which %s does not name", header.Name, IndexFile)
	case !errors.Is(err, io.EOF):
		return nil, domain.WrapError(domain.ErrInvalid, err, "it is cut off after its last entry")
	}
	return b, nil
}

// next reads the header of the entry that has to come.
func next(archive *tar.Reader, name string) (*tar.Header, error) {
	header, err := archive.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, domain.Errorf(domain.ErrInvalid, "it is cut off before the entry %s", name)
	case err != nil:
		return nil, domain.WrapError(domain.ErrInvalid, err, "it is no bundle, or cut off before the entry %s", name)
	case header.Name != name:
		return nil, domain.Errorf(domain.ErrInvalid, "it has the entry %q where %s has to be", header.Name, name)
	case header.Typeflag != tar.TypeReg:
		return nil, domain.Errorf(domain.ErrInvalid, "the entry %s is no plain file", name)
	}
	return header, nil
}

// open reads an entry, and fails at its end when it is not what the index says.
func (b *Bundle) open(name string) (io.ReadCloser, error) {
	at, ok := b.places[name]
	if !ok {
		return nil, domain.Errorf(domain.ErrInvalid, "bundle %s has no entry %s", b.path, name)
	}
	return &verifying{
		from: io.NewSectionReader(b.from, at.offset, at.entry.Size), verifier: at.entry.Digest.Verifier(),
		failure: damaged(domain.Errorf(domain.ErrConflict, "bundle %s: entry %s is not what %s says: it was damaged or changed", b.path, name, IndexFile)),
	}, nil
}

// verifying is a reader that compares what it read with a digest.
type verifying struct {
	from     io.Reader
	verifier digest.Verifier
	failure  error
}

func (v *verifying) Read(p []byte) (int, error) {
	n, err := v.from.Read(p)
	_, _ = v.verifier.Write(p[:n]) // a hash takes everything
	if errors.Is(err, io.EOF) && !v.verifier.Verified() {
		return n, v.failure
	}
	return n, err
}

func (v *verifying) Close() error { return nil }

// bytes returns an entry that was verified.
func (b *Bundle) bytes(name string) ([]byte, error) {
	reader, err := b.open(name)
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	_, err = data.ReadFrom(reader)
	return data.Bytes(), err
}

// chart returns a chart that was verified.
func (b *Bundle) chart(c Chart) (*kube.Chart, error) {
	data, err := b.bytes(c.Entry)
	if err != nil {
		return nil, err
	}
	return kube.Unpack(data, c.Digest)
}

// Fetch returns a manifest or blob; the digest of a descriptor is its entry's.
func (b *Bundle) Fetch(_ context.Context, blob ocispec.Descriptor) (io.ReadCloser, error) {
	if at := b.places[blobEntry(blob.Digest)]; at.entry.Size != blob.Size {
		return nil, domain.Errorf(domain.ErrInvalid, "bundle %s has no blob %s of %d bytes", b.path, blob.Digest, blob.Size)
	}
	if blob.Size > maxManifest {
		return b.open(blobEntry(blob.Digest))
	}
	// Verified at once: who reads a manifest would tell of a damaged end otherwise.
	data, err := b.bytes(blobEntry(blob.Digest))
	return io.NopCloser(bytes.NewReader(data)), err
}

// Verify reads everything and compares it with the index.
func (b *Bundle) Verify(ctx context.Context, progress deploy.Progress) error {
	for i, entry := range b.Index.Entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		progress(fmt.Sprintf("verify %d/%d %s", i+1, len(b.Index.Entries), entry.Name))
		reader, err := b.open(entry.Name)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, reader); err != nil {
			return err
		}
	}
	for _, chart := range b.Index.Charts {
		if _, err := b.chart(chart); err != nil {
			return err
		}
	}
	for _, image := range b.Index.Images {
		if _, err := blobsOf(ctx, b, image.descriptor()); err != nil {
			return fmt.Errorf("image %s: %w", image.Reference, err)
		}
	}
	return nil
}
