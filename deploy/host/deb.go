package host

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/nationtech/harmony-fleet/domain"
)

// maxControl bounds what is read of a package's description.
const maxControl = 1 << 20

// ReadDeb reads the description of a Debian package.
func ReadDeb(file []byte) (Package, error) {
	pkg := Package{Format: FormatDeb, File: file}
	name, control, err := arMember(file, "control.tar")
	if err != nil {
		return pkg, err
	}
	if name != "control.tar.gz" {
		return pkg, domain.Errorf(domain.ErrUnsupported, "its %s is not compressed with gzip: build it with packaging/build", name)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(control))
	if err != nil {
		return pkg, domain.WrapError(domain.ErrInvalid, err, "the package is damaged")
	}
	archive := tar.NewReader(io.LimitReader(unzipped, 4*maxControl))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return pkg, domain.WrapError(domain.ErrInvalid, err, "the package is damaged")
		}
		content, err := io.ReadAll(io.LimitReader(archive, maxControl))
		if err != nil {
			return pkg, domain.WrapError(domain.ErrInvalid, err, "the package is damaged")
		}
		switch path.Base(header.Name) {
		case "control":
			pkg.readControl(string(content))
		case "md5sums":
			pkg.build = digest(content)
		}
	}
	if pkg.Name == "" || pkg.Version == "" || pkg.Architecture == "" || pkg.build == "" {
		return pkg, domain.Errorf(domain.ErrInvalid, "the package does not tell its name, version, architecture and md5sums")
	}
	return pkg, nil
}

func (p *Package) readControl(control string) {
	lines := bufio.NewScanner(strings.NewReader(control))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch value = strings.TrimSpace(value); key {
		case "Package":
			p.Name = value
		case "Version":
			p.Version = value
		case "Architecture":
			p.Architecture = value
		}
	}
}
