package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Format is a kind of package.
type Format string

// The formats.
const (
	FormatDeb Format = "deb"
	FormatRPM Format = "rpm"
)

// Package is a package file.
type Package struct {
	Format       Format
	Name         string
	Version      string
	Architecture string
	File         []byte
	// build tells builds of one version apart, as the host's database does.
	build string
}

// ReadPackage reads a package file of any format.
func ReadPackage(path string) (Package, error) {
	file, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Package{}, domain.WrapError(domain.ErrNotFound, err, "package")
	}
	if err != nil {
		return Package{}, fmt.Errorf("package: %w", err)
	}
	read := ReadDeb
	if bytes.HasPrefix(file, []byte{0xed, 0xab, 0xee, 0xdb}) {
		read = ReadRPM
	}
	pkg, err := read(file)
	if err != nil {
		return Package{}, fmt.Errorf("package %s: %w", path, err)
	}
	return pkg, nil
}

// InstalledPackage is a package on a host, of exactly this build.
type InstalledPackage struct {
	Shell deploy.Shell
	// Choose returns the package for the host, whose facts it gets.
	Choose func(Facts) (Package, error)
	// Name is the package's, whatever is chosen.
	Name string
}

var _ deploy.Resource = (*InstalledPackage)(nil)

// ID implements deploy.Resource.
func (p *InstalledPackage) ID() string { return "package " + p.Name }

// These print "STATUS VERSION BUILD", and nothing when it is not installed.
const (
	inspectDeb = `
state=$(dpkg-query -W -f '${db:Status-Status} ${Version}' "$1" 2>/dev/null) || exit 0
case $state in not-installed* | config-files*) exit 0 ;; esac
sums=/var/lib/dpkg/info/$1.md5sums
[ -f "$sums" ] && build=$(sha256sum <"$sums" | cut -c1-64) || build=none
echo "$state $build"`
	inspectRPM = `rpm -q --quiet "$1" || exit 0
rpm -q --qf 'installed %{VERSION}-%{RELEASE} %{SIGMD5}' "$1"`
)

// Plan implements deploy.Resource.
func (p *InstalledPackage) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	facts, err := Look(ctx, p.Shell)
	if err != nil {
		return deploy.Change{}, err
	}
	inspect := inspectDeb
	if facts.Packages == FormatRPM {
		inspect = inspectRPM
	}
	out, err := Do(ctx, p.Shell, deploy.Script{Text: inspect, Args: []string{p.Name}})
	if err != nil {
		return deploy.Change{}, err
	}
	found := strings.Fields(out)
	if goal == deploy.Absent {
		if len(found) == 0 {
			return deploy.Unchanged("not installed"), nil
		}
		return deploy.Change{Action: deploy.ActionDelete, Summary: "remove it and its data"}, nil
	}
	pkg, err := p.Choose(facts)
	if err != nil {
		return deploy.Change{}, err
	}
	switch {
	case len(found) == 0:
		return deploy.Change{Action: deploy.ActionCreate, Summary: "install " + pkg.Version}, nil
	case len(found) != 3 || found[0] != "installed":
		return deploy.Change{Action: deploy.ActionUpdate, Summary: fmt.Sprintf("install %s over one that is %s", pkg.Version, found[0])}, nil
	case found[1] != pkg.Version:
		return deploy.Change{Action: deploy.ActionUpdate, Summary: fmt.Sprintf("from %s to %s", found[1], pkg.Version)}, nil
	case found[2] != pkg.build:
		return deploy.Change{Action: deploy.ActionUpdate, Summary: fmt.Sprintf("from another build of %s", pkg.Version)}, nil
	}
	return deploy.Unchanged(pkg.Version + " is installed"), nil
}

// uploads is where packages are put until they are installed.
const uploads = "/var/cache/fleet-deploy/"

// The package manager waits for others that hold its lock, and a run that was
// interrupted is finished first.
const (
	installDeb = `set -e
export DEBIAN_FRONTEND=noninteractive
dpkg --configure -a --force-confold
apt-get install -y -q --no-install-recommends --reinstall --allow-downgrades \
	-o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "$1"
rm -f "$1"`
	installRPM = `rpm -U --replacepkgs --oldpackage "$1" && rm -f "$1"`
	removeDeb  = `export DEBIAN_FRONTEND=noninteractive
exec apt-get purge -y -q -o DPkg::Lock::Timeout=300 "$1"`
	removeRPM = `rpm -e "$1"`
)

// Apply implements deploy.Resource.
func (p *InstalledPackage) Apply(ctx context.Context, goal deploy.Goal, progress deploy.Progress) error {
	facts, err := Look(ctx, p.Shell)
	if err != nil {
		return err
	}
	install, remove := installDeb, removeDeb
	if facts.Packages == FormatRPM {
		install, remove = installRPM, removeRPM
	}
	if goal == deploy.Absent {
		_, err := Do(ctx, p.Shell, deploy.Script{Text: remove, Args: []string{p.Name}})
		return err
	}
	pkg, err := p.Choose(facts)
	if err != nil {
		return err
	}
	progress(fmt.Sprintf("upload %d KiB", len(pkg.File)/1024))
	upload := File{Shell: p.Shell, Path: uploads + pkg.Name + "." + string(pkg.Format), Content: pkg.File, Mode: 0o644}
	if err := upload.Apply(ctx, deploy.Present, progress); err != nil {
		return err
	}
	progress("install " + pkg.Version)
	_, err = Do(ctx, p.Shell, deploy.Script{Text: install, Args: []string{upload.Path}})
	return err
}
