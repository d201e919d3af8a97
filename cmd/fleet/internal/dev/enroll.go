package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/local"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

// inviteLifetime is how long a device may take to enroll.
const inviteLifetime = time.Hour

// strangers are the devices that have no identity.
func (f *fleet) strangers() []member {
	var found []member
	for _, m := range f.members {
		if !f.layout.device(m.id).isEnrolled() {
			found = append(found, m)
		}
	}
	return found
}

// enrollment gives an identity to every device that has none.
func (f *fleet) enrollment() *local.Made {
	return &local.Made{
		Name: "identities",
		Look: func(context.Context) (deploy.Change, error) {
			if n := len(f.strangers()); n > 0 {
				return deploy.Change{Action: deploy.ActionCreate, Summary: fmt.Sprintf("enroll %d of %d devices", n, len(f.members))}, nil
			}
			return deploy.Unchanged(fmt.Sprintf("%d devices have one", len(f.members))), nil
		},
		Make: func(ctx context.Context, _ deploy.Progress) error {
			conn, err := f.connect(ctx)
			if err != nil {
				return err
			}
			defer conn.Close()
			group, enrolling := errgroup.WithContext(ctx)
			group.SetLimit(atATime)
			for _, m := range f.strangers() {
				group.Go(func() error { return f.enroll(enrolling, conn, m) })
			}
			return group.Wait()
		},
	}
}

// enroll invites one device and has its agent accept.
func (f *fleet) enroll(ctx context.Context, conn *nats.Conn, m member) error {
	d := f.layout.device(m.id)
	ticket, err := prepareTicket(ctx, nats.NewTokenIssuer(conn), m)
	if err != nil {
		return fmt.Errorf("invite device %s: %w", m.id, err)
	}
	// An earlier run may have been interrupted before the device had its identity.
	if _, err := ticket.Store(ctx, nats.NewEnrollmentStore(conn), true); err != nil {
		return fmt.Errorf("invite device %s: %w", m.id, err)
	}
	if err := os.WriteFile(d.token(), []byte(ticket.Token+"\n"), 0o600); err != nil {
		return fmt.Errorf("invite device %s: %w", m.id, err)
	}
	agent := local.Process{
		Name: "enrollment of " + string(m.id), Path: f.agent, Log: d.log(),
		Args: func() []string { return []string{"enroll", "--config", d.config(), "--token-file", d.token()} },
	}
	err = agent.ToEnd(ctx)
	if removed := os.Remove(d.token()); err == nil && removed != nil {
		return fmt.Errorf("remove the token of %s: %w", m.id, removed)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(d.enrolled(), nil, 0o600)
}

// prepareTicket waits for the operator, which signs tokens and starts meanwhile.
func prepareTicket(ctx context.Context, issuer domain.EnrollmentTokenIssuer, m member) (enrollment.Ticket, error) {
	invitation := enrollment.Invitation{Device: m.id, Labels: contracts.Labels{"site": m.site}, Lifetime: inviteLifetime}
	deadline := time.Now().Add(startTimeout)
	for {
		ticket, err := enrollment.Prepare(ctx, issuer, invitation)
		if !errors.Is(err, domain.ErrUnavailable) || ctx.Err() != nil || time.Now().After(deadline) {
			return ticket, err
		}
		select {
		case <-ctx.Done():
			return enrollment.Ticket{}, ctx.Err()
		case <-time.After(pollInterval):
		}
	}
}
