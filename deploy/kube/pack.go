package kube

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"

	"helm.sh/helm/v3/pkg/chart/loader"
)

// filesDigest is the digest of a chart that is no archive.
func filesDigest(files []*loader.BufferedFile) string {
	hash := sha256.New()
	for _, file := range files {
		fmt.Fprintf(hash, "%q %d\n", file.Name, len(file.Data))
		hash.Write(file.Data)
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
}

// Pack returns the chart as a .tgz, which Unpack takes: the archive that it came
// in, or else one that is the same for the same files.
func (c *Chart) Pack() ([]byte, error) {
	if c.archive != nil {
		return c.archive, nil
	}
	var packed bytes.Buffer
	compressed := gzip.NewWriter(&packed)
	archive := tar.NewWriter(compressed)
	for _, file := range c.files {
		header := &tar.Header{Name: path.Join(c.Name, file.Name), Mode: 0o644, Size: int64(len(file.Data)), Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack chart %s: %w", c.Name, err)
		}
		if _, err := archive.Write(file.Data); err != nil {
			return nil, fmt.Errorf("pack chart %s: %w", c.Name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("pack chart %s: %w", c.Name, err)
	}
	if err := compressed.Close(); err != nil {
		return nil, fmt.Errorf("pack chart %s: %w", c.Name, err)
	}
	if _, err := Unpack(packed.Bytes(), c.Digest); err != nil {
		return nil, fmt.Errorf("pack chart %s: %w", c.Name, err)
	}
	return packed.Bytes(), nil
}

// Unpack returns the chart that was packed and had the digest. It is
// domain.ErrConflict when it has another, and domain.ErrInvalid when it is none.
func Unpack(packed []byte, digest string) (*Chart, error) {
	c, err := fromArchive(packed, "", "", "")
	if err != nil || c.Digest == digest {
		return c, err
	}
	return loaded(c.files, filesDigest(c.files), "", "", digest)
}
