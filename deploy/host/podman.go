package host

import (
	"context"
	"strings"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Podman is Podman on a host, with its socket served. It stays when the Score is
// removed: others may use it. A host with Docker needs none.
type Podman struct{ Shell deploy.Shell }

var _ deploy.Resource = Podman{}

// ID implements deploy.Resource.
func (Podman) ID() string { return "podman" }

// Plan implements deploy.Resource.
func (p Podman) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	if goal == deploy.Absent {
		return deploy.Unchanged("kept: others may use it"), nil
	}
	out, err := Do(ctx, p.Shell, deploy.Script{Text: `
if command -v podman >/dev/null; then echo podman; fi
if systemctl is-active --quiet docker.socket; then echo docker; fi
if systemctl is-enabled --quiet podman.socket 2>/dev/null && systemctl is-active --quiet podman.socket; then echo socket; fi`})
	if err != nil {
		return deploy.Change{}, err
	}
	podman, docker, socket := strings.Contains(out, "podman"), strings.Contains(out, "docker"), strings.Contains(out, "socket")
	switch {
	case podman && socket:
		return deploy.Unchanged("serves its socket"), nil
	case podman:
		return deploy.Change{Action: deploy.ActionUpdate, Summary: "enable its socket"}, nil
	case docker:
		return deploy.Unchanged("Docker serves instead"), nil
	default:
		return deploy.Change{Action: deploy.ActionCreate, Summary: "install it and enable its socket"}, nil
	}
}

const (
	installPodmanDeb = `set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -q -o DPkg::Lock::Timeout=300
apt-get install -y -q -o DPkg::Lock::Timeout=300 podman`
	installPodmanRPM = `if command -v dnf >/dev/null; then exec dnf install -y -q podman; fi; exec yum install -y -q podman`
)

// Apply implements deploy.Resource.
func (p Podman) Apply(ctx context.Context, _ deploy.Goal, progress deploy.Progress) error {
	facts, err := Look(ctx, p.Shell)
	if err != nil {
		return err
	}
	result, err := p.Shell.Run(ctx, deploy.Script{Text: `command -v podman >/dev/null`})
	if err != nil {
		return err
	}
	if result.Code != 0 {
		install := installPodmanDeb
		switch facts.Packages {
		case FormatDeb:
		case FormatRPM:
			install = installPodmanRPM
		default:
			return domain.Errorf(domain.ErrUnsupported, "podman cannot be installed on a host (%s) with neither dpkg nor rpm", facts.OS)
		}
		progress("install podman from the distribution")
		if _, err := Do(ctx, p.Shell, deploy.Script{Text: install}); err != nil {
			return deploy.WithNext(err, "see that the host reaches its package archive, or install podman by hand")
		}
	}
	progress("enable podman.socket")
	_, err = Do(ctx, p.Shell, deploy.Script{Text: `systemctl enable --quiet --now podman.socket`})
	return err
}
