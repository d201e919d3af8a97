// Package enroll gets this device its identity with a one-time token.
package enroll

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/identity"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

// askTimeout bounds one question, connection included.
const askTimeout = 45 * time.Second

// backoff is how long to wait before asking again.
type backoff struct{ first, most time.Duration }

// Pauses while a person has not decided, after a refusal, and when the fleet
// cannot be reached.
var (
	whileInReview = backoff{2 * time.Second, 30 * time.Second} //nolint:gochecknoglobals // a constant
	whileDenied   = backoff{30 * time.Second, 5 * time.Minute} //nolint:gochecknoglobals // a constant
	whileAway     = backoff{time.Second, time.Minute}          //nolint:gochecknoglobals // a constant
)

// Connect reaches the fleet with the rights of a token: the kinds of its errors
// are those of nats.Connect.
type Connect func(ctx context.Context) (domain.Enroller, func(), error)

// Request is what to enroll with.
type Request struct {
	Token string
	// ServerCA is the PEM of the authority that the broker was verified with; it
	// is pinned unless the fleet names another.
	ServerCA  string
	Inventory contracts.Inventory
	// NoWait fails with a NotYetError instead of asking again.
	NoWait bool
}

// Obstacle is what stands between a device and its identity.
type Obstacle int

// The obstacles. The same token may help later against each of them.
const (
	// Undecided: neither the policy nor a person has approved the device.
	Undecided Obstacle = iota
	// Refused: the fleet or its broker gives this token nothing.
	Refused
	// Away: the fleet cannot be asked now, or cannot enroll.
	Away
)

// NotYetError says why there is no identity yet.
type NotYetError struct {
	Obstacle Obstacle
	Why      string
}

func (e *NotYetError) Error() string { return e.Why }

// Run asks until the device has its identity, and returns it once it is on the
// disk. It waits while the fleet has not decided, refuses, or cannot be reached,
// and says why, until the token expires. say is told each new reason.
func Run(ctx context.Context, store *identity.Store, connect Connect, request Request, say func(string)) (identity.Identity, error) {
	token, err := contracts.ParseEnrollmentToken(request.Token)
	if err != nil {
		return identity.Identity{}, fmt.Errorf("the token is not whole: %w; copy it again", err)
	}
	pending, err := store.Pending()
	if err != nil {
		return identity.Identity{}, err
	}
	say(fmt.Sprintf("device %s, key %s", token.Device, enrollment.Fingerprint(pending.PublicKey)))
	asker := asker{
		connect: connect, noWait: request.NoWait, say: say, token: token,
		request: contracts.EnrollRequest{
			Device: token.Device, Token: request.Token, PublicKey: pending.PublicKey, Inventory: request.Inventory,
		},
	}
	credential, err := asker.run(ctx)
	if err != nil {
		return identity.Identity{}, err
	}
	if credential.ServerCA == "" {
		credential.ServerCA = request.ServerCA
	}
	enrolled := identity.Identity{Device: token.Device, Key: pending.Name, Credential: credential}
	return enrolled, store.Commit(enrolled)
}

// asker asks again and again.
type asker struct {
	connect Connect
	request contracts.EnrollRequest
	token   contracts.EnrollmentToken
	noWait  bool
	say     func(string)

	said    string
	pausing backoff
	pause   time.Duration
}

func (a *asker) run(ctx context.Context) (contracts.DeviceCredential, error) {
	for {
		if !time.Now().Before(a.token.ExpiresAt) {
			return contracts.DeviceCredential{}, fmt.Errorf("the token expired at %s: ask for a new one", a.token.ExpiresAt.Format(time.RFC3339))
		}
		reply, err := a.ask(ctx)
		if ctx.Err() != nil {
			return contracts.DeviceCredential{}, ctx.Err()
		}
		if errors.Is(err, domain.ErrInvalid) {
			return contracts.DeviceCredential{}, err
		}
		if err == nil && reply.Credential != nil {
			return a.trust(*reply.Credential)
		}
		not := explain(reply, err)
		if a.noWait {
			return contracts.DeviceCredential{}, not
		}
		if err := a.wait(ctx, not); err != nil {
			return contracts.DeviceCredential{}, err
		}
	}
}

// trust accepts a credential when the fleet that gives it is the one that made
// the token: the token came past the broker. Of the keys that the answer names
// only the token's own is kept: nothing vouches for others, and whoever answers
// in place of the fleet could add one of its own.
func (a *asker) trust(credential contracts.DeviceCredential) (contracts.DeviceCredential, error) {
	if !slices.Contains(credential.SigningKeys, a.token.SigningKey) {
		return contracts.DeviceCredential{}, errors.New("the fleet names other signing keys than the one that signed the token: the broker may be forged; nothing was stored")
	}
	if more := len(credential.SigningKeys) - 1; more > 0 {
		a.say(fmt.Sprintf("trusting the key that signed the token, and not %d more that the broker names: to trust these as well, set signing_keys in the agent's configuration", more))
	}
	credential.SigningKeys = []string{a.token.SigningKey}
	return credential, nil
}

// explain says what the fleet's answer means.
func explain(reply contracts.EnrollReply, err error) *NotYetError {
	switch {
	case errors.Is(err, domain.ErrUnauthenticated), errors.Is(err, domain.ErrPermissionDenied):
		return &NotYetError{Refused, fmt.Sprintf("the broker refuses the token, which may be forged, expired or of another fleet: %v", err)}
	case err != nil:
		return &NotYetError{Away, fmt.Sprintf("the fleet cannot be asked: %v", err)}
	case reply.State == contracts.EnrollmentDenied:
		return &NotYetError{Refused, "refused: " + reply.Reason}
	case reply.State == contracts.EnrollmentReview:
		return &NotYetError{Undecided, "waiting: " + reply.Reason}
	default:
		return &NotYetError{Away, "waiting: " + reply.Reason}
	}
}

// pausing is how long to wait before asking again.
func (o Obstacle) pausing() backoff {
	switch o {
	case Undecided:
		return whileInReview
	case Refused:
		return whileDenied
	case Away:
		return whileAway
	default:
		return whileAway
	}
}

// wait says why, once, and waits longer each time.
func (a *asker) wait(ctx context.Context, not *NotYetError) error {
	if not.Why != a.said {
		a.said = not.Why
		a.say(not.Why + " (asking again, Ctrl-C ends it)")
	}
	if pausing := not.Obstacle.pausing(); pausing != a.pausing {
		a.pausing, a.pause = pausing, pausing.first
	}
	timer := time.NewTimer(a.pause/2 + rand.N(a.pause)) //nolint:gosec // spreads load, guards nothing
	defer timer.Stop()
	a.pause = min(a.pause*2, a.pausing.most)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ask asks once, over a connection of its own: while nobody is asked, none is
// held.
func (a *asker) ask(ctx context.Context) (contracts.EnrollReply, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	enroller, closeConn, err := a.connect(ctx)
	if err != nil {
		return contracts.EnrollReply{}, err
	}
	defer closeConn()
	return enroller.Enroll(ctx, a.request)
}
