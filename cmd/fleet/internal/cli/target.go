package cli

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/contexts"
	"github.com/nationtech/harmony-fleet/contracts"
)

// Environment variables that choose a fleet.
const (
	EnvServer          = "FLEET_NATS_URL"
	EnvNKey            = "FLEET_NKEY"
	EnvUser            = "FLEET_USER"
	EnvPasswordFile    = "FLEET_PASSWORD_FILE"     //nolint:gosec // the variable's name
	EnvAccessTokenFile = "FLEET_ACCESS_TOKEN_FILE" //nolint:gosec // the variable's name
	EnvCA              = "FLEET_TLS_CA"
	EnvContext         = "FLEET_CONTEXT"
	EnvHeartbeat       = "FLEET_HEARTBEAT_INTERVAL"
)

// Target is the fleet that a command works on.
type Target struct {
	// Name is that of the context, "" when the server was named instead.
	Name    string
	Context contexts.Context
}

// String is "the fleet at URL" with the context's name.
func (t Target) String() string {
	if t.Name == "" {
		return "the fleet at " + t.Context.Server
	}
	return fmt.Sprintf("the fleet at %s (context %s)", t.Context.Server, t.Name)
}

type connectionFlags struct {
	context, server, nkey, user, passwordFile, accessTokenFile, ca string
	heartbeat                                                      time.Duration
}

func (f *connectionFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.context, "context", "", "named context to use; see `fleet context` ("+EnvContext+")")
	flags.StringVar(&f.server, "server", "", "URL of the broker, or several separated by commas ("+EnvServer+")")
	flags.StringVar(&f.nkey, "nkey", "", "file with an nkey seed ("+EnvNKey+")")
	flags.StringVar(&f.user, "user", "", "user at the broker, instead of an nkey ("+EnvUser+")")
	flags.StringVar(&f.passwordFile, "password-file", "", "file with that user's password ("+EnvPasswordFile+")")
	flags.StringVar(&f.accessTokenFile, "access-token-file", "", "file with an access token of the identity provider, instead of an nkey ("+EnvAccessTokenFile+")")
	flags.StringVar(&f.ca, "tls-ca", "", "PEM file of the certificate authorities to trust (default: the system's) ("+EnvCA+")")
	flags.DurationVar(&f.heartbeat, "heartbeat-interval", 0, "the operator's heartbeat interval: after three and a half without a sign of life a device is shown as offline (default 30s) ("+EnvHeartbeat+")")
}

// target finds out which fleet is meant: the context or the server of the
// command line, else those of the environment, else the current context. A
// server that is named stands alone: the current context's credential is never
// shown to it.
func (a *App) target() (Target, error) {
	f := &a.flags
	environment, err := a.environment()
	if err != nil {
		return Target{}, err
	}
	name, _ := a.getenv(EnvContext)
	switch {
	case f.context != "":
		name, environment = f.context, contexts.Context{}
	case f.server != "":
		name = ""
	case name != "" && environment.Server != "":
		return Target{}, Usage(fmt.Errorf("%s and %s are both set: unset one of them", EnvContext, EnvServer))
	}
	target := Target{Name: name}
	if name == "" && f.server == "" && environment.Server == "" {
		if target.Name, err = a.currentContext(); err != nil {
			return Target{}, err
		}
	}
	if target.Name != "" {
		if target.Context, err = a.loadContext(target.Name); err != nil {
			return Target{}, err
		}
	}
	override(&target.Context, environment)
	override(&target.Context, contexts.Context{
		Server: f.server, NKeyFile: f.nkey, User: f.user, PasswordFile: f.passwordFile, AccessTokenFile: f.accessTokenFile, CAFile: f.ca,
		HeartbeatInterval: contracts.Duration(f.heartbeat),
	})
	if err := target.Context.Validate(); err != nil {
		return Target{}, Usage(fmt.Errorf("which fleet: %w", err))
	}
	return target, nil
}

func (a *App) environment() (contexts.Context, error) {
	get := func(name string) string { value, _ := a.getenv(name); return value }
	c := contexts.Context{
		Server: get(EnvServer), NKeyFile: get(EnvNKey), User: get(EnvUser),
		PasswordFile: get(EnvPasswordFile), AccessTokenFile: get(EnvAccessTokenFile), CAFile: get(EnvCA),
	}
	if text := get(EnvHeartbeat); text != "" {
		interval, err := time.ParseDuration(text)
		if err != nil {
			return contexts.Context{}, Usage(fmt.Errorf(`%s: must be a duration such as "30s"`, EnvHeartbeat))
		}
		c.HeartbeatInterval = contracts.Duration(interval)
	}
	return c, nil
}

func (a *App) currentContext() (string, error) {
	store, err := a.Contexts()
	if err != nil {
		return "", err
	}
	name, err := store.Current()
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", errors.New("no fleet is chosen: start a local one with `fleet dev` and add --context dev, name one with --server, or choose one for good with `fleet context use NAME`")
	}
	return name, nil
}

func (a *App) loadContext(name string) (contexts.Context, error) {
	store, err := a.Contexts()
	if err != nil {
		return contexts.Context{}, err
	}
	return store.Load(name)
}

// override puts what is set in by over what is set in c. A credential replaces
// the other kind.
func override(c *contexts.Context, by contexts.Context) {
	if by.NKeyFile != "" {
		c.User, c.PasswordFile, c.AccessTokenFile = "", "", ""
	}
	if by.User != "" {
		c.NKeyFile, c.AccessTokenFile = "", ""
	}
	if by.AccessTokenFile != "" {
		c.NKeyFile, c.User, c.PasswordFile = "", "", ""
	}
	c.Server = cmp.Or(by.Server, c.Server)
	c.NKeyFile = cmp.Or(by.NKeyFile, c.NKeyFile)
	c.User = cmp.Or(by.User, c.User)
	c.PasswordFile = cmp.Or(by.PasswordFile, c.PasswordFile)
	c.AccessTokenFile = cmp.Or(by.AccessTokenFile, c.AccessTokenFile)
	c.CAFile = cmp.Or(by.CAFile, c.CAFile)
	c.HeartbeatInterval = cmp.Or(by.HeartbeatInterval, c.HeartbeatInterval)
}
