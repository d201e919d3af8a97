package kube

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// maxArchive bounds a chart's archive, and maxIndex a repository's index.
const (
	maxArchive = 32 << 20
	maxIndex   = 64 << 20
)

// ChartSource is where a chart comes from.
type ChartSource interface {
	// Load returns the chart: domain.ErrNotFound when there is none,
	// domain.ErrConflict when its digest is not the pinned one, and
	// domain.ErrUnavailable when the source cannot be reached.
	Load(ctx context.Context) (*Chart, error)
}

// Pin returns what a source asks of its chart: an empty text asks for nothing.
// Of sources of other packages nothing is known.
func Pin(source ChartSource) (name, version, digest string) {
	switch s := source.(type) {
	case Repository:
		return s.Name, s.Version, s.Digest
	case OCI:
		return path.Base(s.Reference), s.Version, s.Digest
	case Archive:
		return "", s.Version, s.Digest
	case Directory:
		return "", s.Version, s.Digest
	}
	return "", "", ""
}

// Chart is a chart that was loaded.
type Chart struct {
	Name    string
	Version string
	// Digest is "sha256:…" of the archive, as repositories' indexes have it; of
	// a directory, that of its files.
	Digest string
	files  []*loader.BufferedFile
	// archive is what the files came in, if it was one.
	archive []byte
}

// open returns the chart for Helm, which changes what it gets.
func (c *Chart) open() (*chart.Chart, error) {
	opened, err := loader.LoadFiles(c.files)
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "chart %s", c.Name)
	}
	return opened, nil
}

// loaded checks a chart against what was asked for; empty name, version and
// digest ask for nothing.
func loaded(files []*loader.BufferedFile, have, name, version, digest string) (*Chart, error) {
	opened, err := loader.LoadFiles(files)
	if err == nil {
		err = opened.Validate()
	}
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "it is no chart")
	}
	c := &Chart{Name: opened.Name(), Version: opened.Metadata.Version, Digest: have, files: files}
	switch {
	case name != "" && c.Name != name:
		return nil, domain.Errorf(domain.ErrConflict, "it is the chart %s, not %s", c.Name, name)
	case version != "" && strings.TrimPrefix(c.Version, "v") != strings.TrimPrefix(version, "v"):
		return nil, domain.Errorf(domain.ErrConflict, "it is version %s, not %s", c.Version, version)
	case digest != "" && c.Digest != digest:
		return nil, deploy.WithNext(domain.Errorf(domain.ErrConflict, "its digest is %s, and %s is pinned", c.Digest, digest),
			"find out who changed the chart; pin the new digest only if that was meant")
	}
	return c, nil
}

// fromArchive reads a .tgz.
func fromArchive(archive []byte, name, version, digest string) (*Chart, error) {
	sum := sha256.Sum256(archive)
	files, err := loader.LoadArchiveFiles(bytes.NewReader(archive))
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "it is no archive of a chart")
	}
	c, err := loaded(files, "sha256:"+hex.EncodeToString(sum[:]), name, version, digest)
	if err == nil {
		c.archive = archive
	}
	return c, err
}

// Archive is a chart's .tgz on this machine.
type Archive struct {
	Path string
	// Version and Digest pin the chart; both are optional.
	Version string
	Digest  string
}

// Load implements ChartSource.
func (a Archive) Load(context.Context) (*Chart, error) {
	what := "chart " + a.Path
	file, err := os.Open(a.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missingFile(err, what)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer file.Close()
	archive, err := readAll(file, maxArchive)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	c, err := fromArchive(archive, "", a.Version, a.Digest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return c, nil
}

func missingFile(err error, what string) error {
	return deploy.WithNext(domain.WrapError(domain.ErrNotFound, err, "%s", what), "name the chart's archive (helm pull makes one) or its directory")
}

// readAll reads up to a limit.
func readAll(from io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, domain.Errorf(domain.ErrInvalid, "it is larger than %d MiB", limit>>20)
	}
	return data, err
}

// Directory is an unpacked chart, such as an embedded one.
type Directory struct {
	// Files holds the chart; its root has Chart.yaml. os.DirFS and embed.FS are such.
	Files fs.FS
	// Name is of the directory, for errors.
	Name string
	// Version and Digest pin the chart; both are optional.
	Version string
	Digest  string
	// Embedded says that the chart is part of this program.
	Embedded bool
}

// Load implements ChartSource.
func (d Directory) Load(context.Context) (*Chart, error) { return d.Read() }

// Read is Load, which does not wait for anything here.
func (d Directory) Read() (*Chart, error) {
	what := "chart directory " + d.Name
	var files []*loader.BufferedFile
	size := 0
	err := fs.WalkDir(d.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(d.Files, name)
		if err != nil {
			return err
		}
		if size += len(data); size > maxArchive {
			return domain.Errorf(domain.ErrInvalid, "it is larger than %d MiB", maxArchive>>20)
		}
		files = append(files, &loader.BufferedFile{Name: path.Clean(name), Data: data})
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missingFile(err, what)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	c, err := loaded(files, filesDigest(files), "", d.Version, d.Digest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return c, nil
}
