package zitadel

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/nationtech/harmony-fleet/domain"
)

// The names of the operator's parts.
const (
	PartOperator = "operator"
	PartRight    = "operator's right"
	PartRole     = "operator's role"
)

// Part is one of the things that a fleet needs at Zitadel.
type Part struct {
	// Name says what it is, such as "roles".
	Name    string
	setup   *FleetSetup
	missing func(context.Context) ([]string, error)
	make    func(context.Context) error
}

// Parts returns the parts, each after those it needs. The operator's key is none
// of them: it is in the caller's hands.
func (s *FleetSetup) Parts() []Part {
	return []Part{
		{Name: "project", setup: s, missing: s.missingProject, make: s.project},
		{Name: "roles", setup: s, missing: s.missingRoles, make: s.roles},
		{Name: "application", setup: s, missing: s.missingApplication, make: s.application},
		{Name: PartOperator, setup: s, missing: s.missingOperator, make: s.operator},
		{Name: PartRight, setup: s, missing: s.missingRight, make: s.operatorRights},
		{Name: PartRole, setup: s, missing: s.missingRole, make: s.operatorRole},
	}
}

// Part returns that of a name.
func (s *FleetSetup) Part(name string) (Part, error) {
	parts := s.Parts()
	at := slices.IndexFunc(parts, func(p Part) bool { return p.Name == name })
	if at < 0 {
		return Part{}, domain.Errorf(domain.ErrInvalid, "no part of a fleet is called %q", name)
	}
	return parts[at], nil
}

// Missing returns what of it is not there, in words, and nothing when all is.
func (p Part) Missing(ctx context.Context) ([]string, error) {
	if _, err := p.setup.Find(ctx); err != nil {
		return nil, err
	}
	return p.missing(ctx)
}

// Make makes what is missing, and returns when Zitadel shows it: its lists lag.
// ErrConflict when something of the same name is there in another form.
func (p Part) Make(ctx context.Context) error {
	if _, err := p.setup.Find(ctx); err != nil {
		return err
	}
	if err := p.make(ctx); err != nil {
		return err
	}
	var missing []string
	err := await(ctx, p.setup.config.Issuer, func() (bool, error) {
		var err error
		missing, err = p.missing(ctx)
		return len(missing) == 0, err
	})
	if errors.Is(err, errLag) {
		return domain.Errorf(domain.ErrConflict, "%s still lacks %s: something of the same name is there in another form: remove it at Zitadel",
			p.Name, strings.Join(missing, ", "))
	}
	return err
}
