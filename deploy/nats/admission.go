package nats

import (
	"context"

	"github.com/nationtech/harmony-fleet/adapters/nats"
)

// Admission says who may connect to the broker: Callout, CalloutFrom or Users.
type Admission interface {
	// conf is the broker's configuration of it, nothing when it is known later.
	conf() (string, error)
	// later asks for it once something else is there, nil when it is known.
	later() func(ctx context.Context) (string, error)
}

// Callout admits clients by tokens, through the fleet's auth callout. It holds
// public keys alone.
type Callout struct {
	Accounts nats.Accounts
	// Issuer and Exchange are the callout's public keys; Exchange is optional.
	Issuer, Exchange string
	// CalloutUser and SystemUser are the public nkeys of the callout's own
	// connections, and Operators those of the operators.
	CalloutUser, SystemUser string
	Operators               []string
}

func (c Callout) conf() (string, error) {
	return nats.ServerConfig{
		// The chart writes the rest; this is not in the part that is used.
		StoreDir: storeDir, Accounts: c.Accounts, Issuer: c.Issuer, Exchange: c.Exchange,
		CalloutUser: c.CalloutUser, SystemUser: c.SystemUser, Operators: c.Operators,
	}.AuthConf()
}

func (Callout) later() func(context.Context) (string, error) { return nil }

// CalloutFrom is a Callout that is asked for when it is needed, since its keys
// are made in the cluster. It returns domain.ErrNotFound until they are.
type CalloutFrom func(ctx context.Context) (Callout, error)

func (CalloutFrom) conf() (string, error) { return "", nil }

func (c CalloutFrom) later() func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		callout, err := c(ctx)
		if err != nil {
			return "", err
		}
		return callout.conf()
	}
}

// Users admits users whom the broker knows by itself, by key or password.
type Users struct {
	Accounts nats.Accounts
	Users    []nats.StaticUser
}

func (u Users) conf() (string, error) { return nats.StaticConf(u.Accounts, u.Users) }

func (Users) later() func(context.Context) (string, error) { return nil }
