// Package cli is what all commands of fleet have in common: how they reach a
// fleet, and what they return to the shell.
package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/contexts"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	connectTimeout = 5 * time.Second
	requestTimeout = 30 * time.Second
)

// Fleet is the capabilities that the commands use.
type Fleet struct {
	Devices     domain.DeviceRegistry
	Deployments domain.DeploymentStore
	Statuses    domain.DeploymentStatusStore
	Observed    domain.ObservedStateConsumer
	Commands    domain.CommandBus
	Events      domain.EventLog
	Enrollments domain.EnrollmentStore
	Tokens      domain.EnrollmentTokenIssuer
	// Complaint returns what the broker last complained of, such as a missing
	// permission, which no answer tells; "" for nothing. It may be nil.
	Complaint func() string
}

// ConnectFunc reaches a fleet, or fails before ctx ends. The returned function
// disconnects.
type ConnectFunc func(ctx context.Context, to contexts.Context) (Fleet, func(), error)

// App is one run of the program. Its flags are set by one command.
type App struct {
	connect ConnectFunc
	getenv  func(string) (string, bool)
	flags   connectionFlags
	timeout time.Duration
}

// NewApp returns an App that reaches fleets through connect.
func NewApp(connect ConnectFunc, getenv func(string) (string, bool)) *App {
	return &App{connect: connect, getenv: getenv}
}

// RegisterFlags adds the flags that choose a fleet.
func (a *App) RegisterFlags(flags *pflag.FlagSet) {
	a.flags.register(flags)
	flags.DurationVar(&a.timeout, "request-timeout", requestTimeout, "longest time to wait for the fleet's answers")
}

// Contexts returns the store of named contexts.
func (a *App) Contexts() (*contexts.Store, error) {
	dir, err := contexts.DefaultDir(a.getenv)
	if err != nil {
		return nil, err
	}
	return contexts.NewStore(dir), nil
}

// Actor names who runs the program, for the audit: "cli:<user>". It is what the
// user's computer says, not what the broker checked.
func (a *App) Actor() string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if user, _ := a.getenv(name); user != "" {
			return "cli:" + user
		}
	}
	return fmt.Sprintf("cli:uid-%d", os.Getuid())
}

// Session is a connection to the chosen fleet.
type Session struct {
	Fleet
	// Actor is who works, for the audit.
	Actor string
	// HeartbeatInterval is that of the fleet's operator.
	HeartbeatInterval time.Duration
	// Target says which fleet it is.
	Target Target
}

// Do connects, calls work, which must end within the request timeout, and
// disconnects.
func (a *App) Do(command *cobra.Command, work func(context.Context, Session) error) error {
	return a.Follow(command, func(ctx context.Context, session Session) error {
		limited, cancel := context.WithTimeout(ctx, a.timeout)
		defer cancel()
		err := work(limited, session)
		if errors.Is(limited.Err(), context.DeadlineExceeded) && err != nil {
			if session.Complaint != nil && session.Complaint() != "" {
				return fmt.Errorf("%s did not answer within %s: %s; name another credential with --nkey, --access-token-file, or --user and --password-file", session.Target, a.timeout, session.Complaint())
			}
			return fmt.Errorf("%s did not answer within %s: try again, or allow more with --request-timeout", session.Target, a.timeout)
		}
		return err
	})
}

// Follow is Do without a limit: for commands that watch, and bound themselves.
func (a *App) Follow(command *cobra.Command, work func(context.Context, Session) error) error {
	if a.timeout <= 0 {
		return Usagef("--request-timeout: %s is not a time to wait, must be more than 0", a.timeout)
	}
	target, err := a.target()
	if err != nil {
		return err
	}
	ctx := command.Context()
	session, closeFleet, err := a.open(ctx, target)
	if err != nil {
		return err
	}
	defer closeFleet()
	return work(ctx, session)
}

func (a *App) open(ctx context.Context, target Target) (Session, func(), error) {
	limited, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	fleet, closeFleet, err := a.connect(limited, target.Context)
	if err != nil {
		return Session{}, nil, connectError(ctx, target, err)
	}
	interval := target.Context.HeartbeatInterval
	if interval == 0 {
		interval = contracts.DefaultHeartbeatInterval
	}
	return Session{Fleet: fleet, Actor: a.Actor(), HeartbeatInterval: interval.Std(), Target: target}, closeFleet, nil
}

// connectError says which fleet, why, and what to do next.
func connectError(ctx context.Context, target Target, err error) error {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case untrusted:
		return fmt.Errorf("cannot reach %s: %w; name the broker's certificate authority with --tls-ca, or caFile of the context", target, err)
	case errors.Is(err, domain.ErrInvalid):
		return fmt.Errorf("the connection to %s cannot be set up: %w", target, err)
	case errors.Is(err, domain.ErrUnauthenticated), errors.Is(err, domain.ErrPermissionDenied):
		return fmt.Errorf("%s refused the credential: %w; name another with --nkey, --access-token-file, or --user and --password-file", target, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("cannot reach %s: no answer within %s; start a local fleet with `fleet dev`, or name another with --server or --context", target, connectTimeout)
	default:
		return fmt.Errorf("cannot reach %s: %w; start a local fleet with `fleet dev`, or name another with --server or --context", target, err)
	}
}

// WithTimeout bounds each call of a bus, for streams that as a whole have no end.
func WithTimeout(bus domain.CommandBus, timeout time.Duration) domain.CommandBus {
	return &boundedBus{bus: bus, timeout: timeout}
}

type boundedBus struct {
	bus     domain.CommandBus
	timeout time.Duration
}

// Call implements domain.CommandBus.
func (b *boundedBus) Call(ctx context.Context, device contracts.DeviceID, verb contracts.Verb, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	return b.bus.Call(ctx, device, verb, request)
}
