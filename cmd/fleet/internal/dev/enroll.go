package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

// inviteLifetime is how long a device may take to enroll.
const inviteLifetime = time.Hour

// enrollAll gives an identity to every device that has none, once clients are
// admitted. It returns nil when ctx ends first.
func (f *fleet) enrollAll(ctx context.Context, admitting <-chan struct{}) error {
	select {
	case <-admitting:
	case <-ctx.Done():
		return nil
	}
	conn, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var made atomic.Int32
	group, enrolling := errgroup.WithContext(ctx)
	group.SetLimit(atATime)
	for _, m := range f.members {
		if f.layout.device(m.id).isEnrolled() {
			continue
		}
		group.Go(func() error {
			made.Add(1)
			return f.enroll(enrolling, conn, m)
		})
	}
	if err := group.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	f.said("devices   %d enrolled, %d more had an identity", made.Load(), len(f.members)-int(made.Load()))
	return nil
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
	agent := child{
		name: "enrollment of " + string(m.id), path: f.agent, log: d.log(),
		args: []string{"enroll", "--config", d.config(), "--token-file", d.token()},
	}
	err = agent.once(ctx)
	if removed := os.Remove(d.token()); err == nil && removed != nil {
		return fmt.Errorf("remove the token of %s: %w", m.id, removed)
	}
	if err != nil {
		return agent.failed(err)
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
