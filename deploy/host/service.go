package host

import (
	"context"
	"errors"
	"strings"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Service is a systemd service that is enabled and runs with the newest of what
// it reads: it is started anew when one of Inputs changed since it was started
// by this package, an interrupted run included.
type Service struct {
	Shell deploy.Shell
	// Name is the unit's, without ".service".
	Name string
	// Inputs are the paths of what the service reads when it starts.
	Inputs []string
	// Leave is a script that is run before the service's removal, once it is
	// stopped. Optional.
	Leave string
}

var _ deploy.Resource = (*Service)(nil)

// ID implements deploy.Resource.
func (s *Service) ID() string { return "service " + s.Name }

// The stamp holds the digest of the inputs with which the service was started, and
// of when they were written: one that was changed and put back may have been read
// in between.
const stampText = `
name=$1; shift
stamp=/var/lib/fleet-deploy/$name.started
now=$({ sha256sum "$@"; stat -c '%n %y' "$@"; } 2>/dev/null | sha256sum | cut -c1-64)
`

const inspectService = stampText + `
systemctl cat "$name.service" >/dev/null 2>&1 && echo unit
systemctl is-enabled --quiet "$name.service" 2>/dev/null && echo enabled
systemctl is-active --quiet "$name.service" 2>/dev/null && echo active
[ -e "$stamp" ] && echo stamp
[ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && echo fresh
true`

// Plan implements deploy.Resource.
func (s *Service) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	out, err := Do(ctx, s.Shell, deploy.Script{Text: inspectService, Args: append([]string{s.Name}, s.Inputs...)})
	if err != nil {
		return deploy.Change{}, err
	}
	is := map[string]bool{}
	for word := range strings.FieldsSeq(out) {
		is[word] = true
	}
	if goal == deploy.Absent {
		if !is["enabled"] && !is["active"] && !is["stamp"] {
			return deploy.Unchanged("neither enabled nor running"), nil
		}
		return deploy.Change{Action: deploy.ActionDelete, Summary: "stop and disable it"}, nil
	}
	switch {
	case !is["unit"]:
		return deploy.Change{Action: deploy.ActionCreate, Summary: "enable and start it"}, nil
	case !is["active"]:
		return deploy.Change{Action: deploy.ActionUpdate, Summary: "start it"}, nil
	case !is["fresh"]:
		return deploy.Change{Action: deploy.ActionUpdate, Summary: "start it anew with what changed"}, nil
	case !is["enabled"]:
		return deploy.Change{Action: deploy.ActionUpdate, Summary: "enable it"}, nil
	}
	return deploy.Unchanged("runs"), nil
}

const startService = stampText + `
set -e
systemctl daemon-reload
systemctl enable --quiet "$name.service"
systemctl restart "$name.service"
mkdir -p -m 0755 /var/lib/fleet-deploy
echo "$now" >"$stamp.new"
mv "$stamp.new" "$stamp"`

const stopService = `set -e
if systemctl cat "$1.service" >/dev/null 2>&1; then
	systemctl stop "$1.service"
	[ -z "$2" ] || sh -c "$2"
	systemctl disable --quiet "$1.service"
fi
rm -f "/var/lib/fleet-deploy/$1.started"`

// Apply implements deploy.Resource.
func (s *Service) Apply(ctx context.Context, goal deploy.Goal, _ deploy.Progress) error {
	script := deploy.Script{Text: startService, Args: append([]string{s.Name}, s.Inputs...)}
	if goal == deploy.Absent {
		script = deploy.Script{Text: stopService, Args: []string{s.Name, s.Leave}}
	}
	_, err := Do(ctx, s.Shell, script)
	if err != nil {
		err = deploy.WithNext(err, "see why on the host: systemctl status %s; journalctl -u %s -n 50", s.Name, s.Name)
	}
	return err
}

// Journal is a companion that explains a failure with the service's last lines.
func Journal(shell deploy.Shell, name string) deploy.Companion {
	return deploy.Companion{Name: "journal", Diagnose: func(ctx context.Context, failure *deploy.Error) ([]string, error) {
		if errors.Is(failure, domain.ErrUnavailable) || errors.Is(failure, domain.ErrUnauthenticated) || errors.Is(failure, domain.ErrPermissionDenied) {
			return nil, nil // a host that cannot be reached cannot be asked
		}
		result, err := shell.Run(ctx, deploy.Script{
			Text: `command -v journalctl >/dev/null || exit 0; journalctl -q -u "$1" -n 8 -o cat --no-pager`, Args: []string{name},
		})
		text := strings.TrimSpace(result.Stdout)
		if err != nil || text == "" {
			return nil, err
		}
		return strings.Split(text, "\n"), nil
	}}
}

// StartAnew has the next run start a service anew though none of its Inputs
// changed.
func StartAnew(ctx context.Context, shell deploy.Shell, name string) error {
	_, err := Do(ctx, shell, deploy.Script{Text: `rm -f "/var/lib/fleet-deploy/$1.started"`, Args: []string{name}})
	return err
}
