package host_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy/host"
	"github.com/nationtech/harmony-fleet/domain"
)

// deb writes a package's description as dpkg-deb would.
func deb(control, sums string) []byte {
	var archive bytes.Buffer
	compressed := gzip.NewWriter(&archive)
	files := tar.NewWriter(compressed)
	for _, file := range [][2]string{{"./control", control}, {"./md5sums", sums}} {
		_ = files.WriteHeader(&tar.Header{Name: file[0], Mode: 0o644, Size: int64(len(file[1]))})
		_, _ = files.Write([]byte(file[1]))
	}
	_ = files.Close()
	_ = compressed.Close()
	out := []byte("!<arch>\n")
	for _, member := range []struct {
		name    string
		content []byte
	}{{"debian-binary", []byte("2.0\n1")}, {"control.tar.gz", archive.Bytes()}, {"data.tar.xz", nil}} {
		out = fmt.Appendf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", member.name, 0, 0, 0, "100644", len(member.content))
		out = append(out, member.content...)
		if len(member.content)%2 == 1 {
			out = append(out, '\n')
		}
	}
	return out
}

const control = "Package: fleet-agent\nVersion: 0.1.0~rc1\nArchitecture: arm64\nDescription: x\n more: of it\n"

func TestReadDeb(t *testing.T) {
	path := filepath.Join(t.TempDir(), "package")
	require.NoError(t, os.WriteFile(path, deb(control, "sums"), 0o600))
	pkg, err := host.ReadPackage(path)
	require.NoError(t, err)
	require.Equal(t, []string{"fleet-agent", "0.1.0~rc1", "arm64", "deb"}, []string{pkg.Name, pkg.Version, pkg.Architecture, string(pkg.Format)})

	chosen, err := host.Choose([]host.Package{pkg}, host.Facts{Architecture: "arm64", Packages: host.FormatDeb})
	require.NoError(t, err)
	require.Equal(t, "fleet-agent", chosen.Name)
	_, err = host.Choose([]host.Package{pkg}, host.Facts{Architecture: "amd64", Packages: host.FormatDeb, OS: "debian 12"})
	require.ErrorContains(t, err, "none of the packages is a .deb for amd64, as the host (debian 12) needs")
	_, err = host.Choose([]host.Package{pkg}, host.Facts{Architecture: "arm64", Packages: host.FormatRPM})
	require.ErrorIs(t, err, domain.ErrNotFound)
	_, err = host.Choose([]host.Package{pkg}, host.Facts{Architecture: "arm64"})
	require.ErrorIs(t, err, domain.ErrUnsupported)

	_, err = host.ReadPackage(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, domain.ErrNotFound)
	whole := deb(control, "sums")
	for n := range len(whole) - 61 {
		_, err := host.ReadDeb(whole[:n])
		require.ErrorIs(t, err, domain.ErrInvalid, n)
	}
}

func FuzzReadDeb(f *testing.F) {
	f.Add(deb(control, "sums"))
	f.Add([]byte("!<arch>\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		pkg, err := host.ReadDeb(file)
		if err == nil && (pkg.Name == "" || pkg.Version == "" || pkg.Architecture == "") {
			t.Fatalf("%+v", pkg)
		}
	})
}

// rpmHeaders returns a package that consists of its lead and headers.
func rpmHeaders() []byte {
	header := func(tags map[uint32]string) []byte {
		var index, store []byte
		for tag, value := range tags {
			for _, n := range []uint32{tag, 6, uint32(len(store)), 1} {
				index = append(index, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
			}
			store = append(append(store, value...), 0)
		}
		out := []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0, 0, 0, 0, byte(len(tags)), 0, 0, 0, byte(len(store))}
		return append(append(out, index...), store...)
	}
	out := append([]byte{0xed, 0xab, 0xee, 0xdb}, make([]byte, 92)...)
	out = append(out, header(map[uint32]string{1004: "0123456789abcdef"})...)
	for len(out)%8 != 0 {
		out = append(out, 0)
	}
	return append(out, header(map[uint32]string{1000: "fleet-agent", 1001: "0.1.0", 1002: "1", 1022: "aarch64"})...)
}

func TestReadRPM(t *testing.T) {
	pkg, err := host.ReadRPM(rpmHeaders())
	require.NoError(t, err)
	require.Equal(t, []string{"fleet-agent", "0.1.0-1", "aarch64"}, []string{pkg.Name, pkg.Version, pkg.Architecture})
	_, err = host.Choose([]host.Package{pkg}, host.Facts{Architecture: "arm64", Packages: host.FormatRPM})
	require.NoError(t, err)
	for n := range len(rpmHeaders()) {
		_, err := host.ReadRPM(rpmHeaders()[:n])
		require.ErrorIs(t, err, domain.ErrInvalid, n)
	}
}

func FuzzReadRPM(f *testing.F) {
	f.Add(rpmHeaders())
	f.Fuzz(func(t *testing.T, file []byte) {
		pkg, err := host.ReadRPM(file)
		if err == nil && (pkg.Name == "" || pkg.Version == "" || pkg.Architecture == "") {
			t.Fatalf("%+v", pkg)
		}
	})
}
