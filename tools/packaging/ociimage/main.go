// Command ociimage writes an OCI image of one static program as a tarball, without a
// container engine. The same input gives the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image describes the image to write.
type image struct {
	// program is the executable on this host; its base name is that in the image.
	program string
	arch    string
	// user is "uid:gid", or empty for root.
	user string
	// reference names the image, such as "fleet-operator:1.2.3".
	reference string
	version   string
	created   time.Time
}

func main() {
	var i image
	flag.StringVar(&i.program, "program", "", "static executable, the image's entrypoint")
	flag.StringVar(&i.arch, "arch", "", "its architecture: amd64 or arm64")
	flag.StringVar(&i.user, "user", "", "uid:gid that it runs as; empty for root")
	flag.StringVar(&i.reference, "reference", "", "name and tag of the image")
	flag.StringVar(&i.version, "version", "", "version in the image's labels")
	created := flag.Int64("created", 0, "creation time, in seconds since 1970")
	output := flag.String("output", "", "file to write")
	flag.Parse()
	if i.program == "" || i.arch == "" || i.reference == "" || *output == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "ociimage: -program, -arch, -reference and -output are needed, and nothing else but flags")
		os.Exit(2)
	}
	i.created = time.Unix(*created, 0).UTC()
	if err := i.write(*output); err != nil {
		fmt.Fprintln(os.Stderr, "ociimage:", err)
		os.Exit(1)
	}
}

func (i image) write(output string) error {
	built, err := i.build()
	if err != nil {
		return fmt.Errorf("build %s: %w", i.reference, err)
	}
	dir, err := os.MkdirTemp("", "ociimage")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("write %s: %w", i.reference, err)
	}
	err = path.AppendImage(built,
		layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": i.reference}),
		layout.WithPlatform(v1.Platform{OS: "linux", Architecture: i.arch}))
	if err != nil {
		return fmt.Errorf("write %s: %w", i.reference, err)
	}
	return i.pack(dir, output)
}

func (i image) build() (v1.Image, error) {
	layer, err := i.layer()
	if err != nil {
		return nil, err
	}
	built := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	built, err = mutate.Append(built, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: i.created}, CreatedBy: "ociimage"},
	})
	if err != nil {
		return nil, err
	}
	config, err := built.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", i.arch, v1.Time{Time: i.created}
	config.Config = v1.Config{
		Entrypoint: []string{"/" + filepath.Base(i.program)},
		User:       i.user,
		Labels: map[string]string{
			"org.opencontainers.image.title":   filepath.Base(i.program),
			"org.opencontainers.image.version": i.version,
		},
	}
	return mutate.ConfigFile(built, config)
}

// layer holds the program and nothing else.
func (i image) layer() (v1.Layer, error) {
	program, err := os.ReadFile(i.program)
	if err != nil {
		return nil, err
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	header := &tar.Header{Name: filepath.Base(i.program), Mode: 0o755, Size: int64(len(program)), ModTime: i.created}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil }
	return tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer))
}

// pack writes the files below dir into a tarball.
func (i image) pack(dir, output string) (err error) {
	file, err := os.Create(output)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w := tar.NewWriter(file)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: int64(len(data)), ModTime: i.created}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	return errors.Join(err, w.Close())
}
