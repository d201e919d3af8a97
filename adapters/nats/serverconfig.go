package nats

import (
	"cmp"
	"net"
	"regexp"
	"strconv"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/nationtech/harmony-fleet/domain"
)

// Defaults of a broker's configuration.
const (
	// calloutTimeout is how long the broker waits for the callout: in a storm of
	// reconnections the last client waits for all before it.
	calloutTimeout = 60 * time.Second
	// defaultMaxPayload has room for the largest document with its signature.
	defaultMaxPayload = 1 << 20
	// defaultMaxPending is what a client may leave unread before the broker
	// disconnects it.
	defaultMaxPending = 16 << 20
	// maxControlLine has room for the token of somebody with many roles: it comes
	// in one line with the rest of a client's introduction.
	maxControlLine = 16 << 10
	// defaultMaxSubscriptions is for one connection; an agent has four, the
	// operator and the tools some dozens.
	defaultMaxSubscriptions = 1000
)

// Accounts are the names of the broker's accounts. One fleet has one account;
// several fleets share a broker and no subject.
type Accounts struct {
	// Fleet is that of devices, operator and tools; empty is "FLEET".
	Fleet string
	// View is that of viewers; empty is Fleet with "_VIEW".
	View string
	// Auth is that of the auth callout; empty is "AUTH".
	Auth string
	// System is the broker's own; empty is "SYS".
	System string
}

func (a Accounts) withDefaults() Accounts {
	a.Fleet = cmp.Or(a.Fleet, "FLEET")
	a.View = cmp.Or(a.View, a.Fleet+"_VIEW")
	a.Auth = cmp.Or(a.Auth, "AUTH")
	a.System = cmp.Or(a.System, "SYS")
	return a
}

func (a Accounts) validate() error {
	seen := map[string]bool{}
	for _, name := range []string{a.Fleet, a.View, a.Auth, a.System} {
		if !accountName.MatchString(name) || seen[name] {
			return domain.Errorf(domain.ErrInvalid, "broker configuration: account name %q must be letters, digits, '-' and '_', and of one account", name)
		}
		seen[name] = true
	}
	return nil
}

// ServerConfig is the configuration of a broker that admits clients through the
// auth callout, as data. Conf and AuthConf are its text.
type ServerConfig struct {
	// Name is the server's; it must be its own within a cluster.
	Name string
	// Host and Port are where clients connect; "127.0.0.1" and 4222 when zero.
	Host string
	Port int
	// Monitor is the address of the monitoring page, such as "127.0.0.1:8222";
	// empty for none. It has no authentication.
	Monitor string
	// StoreDir is where streams are kept; needed.
	StoreDir string
	// SyncAlways makes an acknowledged write survive a power cut.
	SyncAlways bool
	// TLS is how clients are served; nil without, which is for loopback only.
	TLS      *ServerTLS
	Accounts Accounts
	// Issuer and Exchange are the public keys of CalloutKeys. Without Exchange
	// requests are not encrypted.
	Issuer, Exchange string
	// CalloutUser and SystemUser are the public nkeys of CalloutConns.
	CalloutUser, SystemUser string
	// Operators are the public nkeys that have the operator's rights without the
	// callout: it cannot admit its own process, nor when the provider is away.
	Operators []string
	// MaxConnections bounds all clients; zero is 65,536.
	MaxConnections int
	// MaxSubscriptions bounds those of one connection; zero is 1,000.
	MaxSubscriptions int
	// MaxPayload bounds one message, in bytes; zero is 1 MiB.
	MaxPayload int
}

// ServerTLS says how the broker proves itself. Clients prove themselves by
// tokens, not by certificates.
type ServerTLS struct {
	// CertFile and KeyFile are PEM files of the server's certificate and key.
	CertFile, KeyFile string
	// HandshakesPerSecond bounds new connections, and with it what a flood of
	// strangers costs; zero for no bound. It must let a whole fleet come back
	// within a minute.
	HandshakesPerSecond int
}

// accountName is what may stand in the text without quotes.
var accountName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)

// Validate returns an error of kind ErrInvalid that names what is wrong.
func (c ServerConfig) Validate() error {
	if c.StoreDir == "" {
		return domain.Errorf(domain.ErrInvalid, "broker configuration: name the directory of its store")
	}
	if c.TLS != nil && (c.TLS.CertFile == "" || c.TLS.KeyFile == "") {
		return domain.Errorf(domain.ErrInvalid, "broker configuration: TLS needs a certificate file and a key file")
	}
	if c.Monitor != "" {
		if _, _, err := net.SplitHostPort(c.Monitor); err != nil {
			return domain.WrapError(domain.ErrInvalid, err, "broker configuration: monitoring address")
		}
	}
	if err := c.Accounts.withDefaults().validate(); err != nil {
		return err
	}
	return c.validateKeys()
}

func (c ServerConfig) validateKeys() error {
	if !nkeys.IsValidPublicAccountKey(c.Issuer) {
		return domain.Errorf(domain.ErrInvalid, "broker configuration: the issuer %q is not the public key of an account", c.Issuer)
	}
	if c.Exchange != "" && !nkeys.IsValidPublicCurveKey(c.Exchange) {
		return domain.Errorf(domain.ErrInvalid, "broker configuration: the exchange key %q is not a public curve key", c.Exchange)
	}
	if len(c.Operators) == 0 {
		return domain.Errorf(domain.ErrInvalid, "broker configuration: name the operator's public nkey, without which nothing can admit the callout's own process")
	}
	seen := map[string]bool{}
	for _, key := range c.staticUsers() {
		if !nkeys.IsValidPublicUserKey(key) || seen[key] {
			return domain.Errorf(domain.ErrInvalid, "broker configuration: %q must be the public nkey of a user, and of one user alone", key)
		}
		seen[key] = true
	}
	return nil
}

// staticUsers are who connects without the callout.
func (c ServerConfig) staticUsers() []string {
	return append([]string{c.CalloutUser, c.SystemUser}, c.Operators...)
}

func (c ServerConfig) listen() string {
	return net.JoinHostPort(cmp.Or(c.Host, "127.0.0.1"), strconv.Itoa(cmp.Or(c.Port, 4222)))
}
