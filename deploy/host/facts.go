package host

import (
	"context"
	"strings"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Facts are what a host is.
type Facts struct {
	// OS is the distribution and its version, such as "debian 12".
	OS string
	// Architecture is Go's name, such as "arm64".
	Architecture string
	// Packages is the host's format, empty when it has none that is known.
	Packages Format
	// Systemd says whether systemd runs the host.
	Systemd bool
}

const look = `
[ -r /etc/os-release ] && . /etc/os-release
echo "os=${ID:-unknown} ${VERSION_ID:-}"
echo "machine=$(uname -m)"
if command -v dpkg-query >/dev/null; then echo packages=deb
elif command -v rpm >/dev/null; then echo packages=rpm; fi
if [ -d /run/systemd/system ]; then echo systemd=yes; fi
for program in sha256sum stat df mktemp; do
	command -v "$program" >/dev/null || { echo "the host has no $program" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || echo notroot=yes`

// Look returns what a host is. An error says what it lacks.
func Look(ctx context.Context, shell deploy.Shell) (Facts, error) {
	out, err := Do(ctx, shell, deploy.Script{Text: look})
	if err != nil {
		return Facts{}, err
	}
	values := map[string]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[key] = strings.TrimSpace(value)
	}
	if values["notroot"] != "" {
		return Facts{}, deploy.WithNext(domain.Errorf(domain.ErrPermissionDenied, "the host was reached without the rights of root"), "connect as root or as a user who may run sudo")
	}
	return Facts{
		OS:           values["os"],
		Architecture: architecture(values["machine"]),
		Packages:     Format(values["packages"]),
		Systemd:      values["systemd"] != "",
	}, nil
}

// architecture translates the kernel's name.
func architecture(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	default:
		return machine
	}
}

// matches says whether a package is for an architecture.
func (p Package) matches(facts Facts) bool {
	if p.Format != facts.Packages {
		return false
	}
	switch p.Architecture {
	case "all", "noarch":
		return true
	default:
		return architecture(p.Architecture) == facts.Architecture
	}
}

// Choose returns the package for a host, of several for different ones.
func Choose(packages []Package, facts Facts) (Package, error) {
	for _, pkg := range packages {
		if pkg.matches(facts) {
			return pkg, nil
		}
	}
	if facts.Packages == "" {
		return Package{}, deploy.WithNext(domain.Errorf(domain.ErrUnsupported, "the host (%s) has neither dpkg nor rpm", facts.OS), "install the bare program instead of a package")
	}
	return Package{}, deploy.WithNext(domain.Errorf(domain.ErrNotFound, "none of the packages is a .%s for %s, as the host (%s) needs", facts.Packages, facts.Architecture, facts.OS),
		"build it (make packages) and name it as well")
}
