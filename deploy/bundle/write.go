package bundle

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony-fleet/domain"
)

// mode is that of the archive, which holds no secret.
const mode = 0o644

// written is the size and digest of a file.
type written struct {
	size   int64
	digest digest.Digest
}

// write writes the file beside its place and puts it there when it is whole.
func (m *maker) write(ctx context.Context, path string) (done written, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return written{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	sum := &counting{hash: digest.SHA256.Hash()}
	err = m.pack(ctx, io.MultiWriter(file, sum))
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = file.Chmod(mode)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return written{}, err
	}
	return written{size: sum.size, digest: digest.NewDigest(digest.SHA256, sum.hash)}, os.Rename(file.Name(), path)
}

type counting struct {
	hash hash.Hash
	size int64
}

func (c *counting) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	return c.hash.Write(p)
}

func (m *maker) pack(ctx context.Context, w io.Writer) error {
	data, err := json.MarshalIndent(m.index, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if len(data) > maxIndex {
		return domain.Errorf(domain.ErrUnsupported, "its index is larger than %d MiB", maxIndex>>20)
	}
	archive := tar.NewWriter(w)
	if err := archive.WriteHeader(header(IndexFile, int64(len(data)))); err != nil {
		return err
	}
	if _, err := archive.Write(data); err != nil {
		return err
	}
	for i, entry := range m.index.Entries {
		m.options.Progress(fmt.Sprintf("write %d/%d %s, %s", i+1, len(m.index.Entries), entry.Name, bytesText(entry.Size)))
		if err := m.packEntry(ctx, archive, entry); err != nil {
			return fmt.Errorf("%s: %w", entry.Name, err)
		}
	}
	return archive.Close()
}

// header has neither time nor owner, so that the same content is the same archive.
func header(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Size: size, Mode: mode, Typeflag: tar.TypeReg}
}

// packEntry writes one entry, and fails when it is not what it was promised to be.
func (m *maker) packEntry(ctx context.Context, archive *tar.Writer, entry Entry) error {
	reader, err := m.content[entry.Name](ctx)
	if err != nil {
		return err
	}
	defer reader.Close()
	if err := archive.WriteHeader(header(entry.Name, entry.Size)); err != nil {
		return err
	}
	checked := &verifying{
		from: &noting{from: reader, entry: entry, progress: m.options.Progress}, verifier: entry.Digest.Verifier(),
		failure: domain.Errorf(domain.ErrConflict, "what came is not what its digest %s says", entry.Digest),
	}
	n, err := io.Copy(archive, io.LimitReader(checked, entry.Size+1))
	switch {
	case errors.Is(err, tar.ErrWriteTooLong) || err == nil && n < entry.Size:
		return domain.Errorf(domain.ErrConflict, "it has not the %d bytes that it was promised to have", entry.Size)
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return translate(err, "that it comes from", "read it")
	}
	return nil
}

// noteEvery is after how many bytes a note is made.
const noteEvery = 32 << 20

// noting notes how far a large entry is.
type noting struct {
	from     io.Reader
	entry    Entry
	progress func(string)
	at       int64
}

func (n *noting) Read(p []byte) (int, error) {
	count, err := n.from.Read(p)
	before := n.at / noteEvery
	if n.at += int64(count); n.at/noteEvery > before {
		n.progress(fmt.Sprintf("%s: %s of %s", n.entry.Name, bytesText(n.at), bytesText(n.entry.Size)))
	}
	return count, err
}

func bytesText(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", (n+1023)/1024)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
