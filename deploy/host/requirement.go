package host

import (
	"context"
	"fmt"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Systemd is the requirement that systemd runs the host. It is first in a Score,
// so that a host that cannot do it is left as it is.
type Systemd struct{ Shell deploy.Shell }

var _ deploy.Resource = Systemd{}

// ID implements deploy.Resource.
func (Systemd) ID() string { return "host" }

// Plan implements deploy.Resource.
func (s Systemd) Plan(ctx context.Context, _ deploy.Goal) (deploy.Change, error) {
	facts, err := Look(ctx, s.Shell)
	if err != nil {
		return deploy.Change{}, err
	}
	if !facts.Systemd {
		return deploy.Change{}, domain.Errorf(domain.ErrUnsupported, "the host (%s) is not run by systemd", facts.OS)
	}
	return deploy.Unchanged(fmt.Sprintf("%s, %s, systemd", facts.OS, facts.Architecture)), nil
}

// Apply implements deploy.Resource.
func (Systemd) Apply(context.Context, deploy.Goal, deploy.Progress) error { return nil }
