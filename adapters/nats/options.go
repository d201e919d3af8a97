package nats

import (
	"cmp"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/nationtech/harmony-fleet/domain"
)

// Defaults of a connection. A server that is busy verifying ten thousand
// reconnecting devices answers late: giving up early and dialing again is what
// turns a storm into a collapse.
const (
	handshakeTimeout = 60 * time.Second
	dialTimeout      = 5 * time.Second
	reconnectWait    = 500 * time.Millisecond
	defaultJitter    = 10 * time.Second
	drainTimeout     = 5 * time.Second
	failFastTimeout  = 10 * time.Second
)

// A link that dies in silence, as a radio's or a NAT's does, is found out after
// maxPings+1 intervals without an answer: within a minute, so that the status on
// a device does not send people in the wrong direction.
const (
	pingInterval = 15 * time.Second
	maxPings     = 2
)

// Config says how to connect.
type Config struct {
	// Servers are URLs such as "nats://host:4222" or "tls://host:4222".
	Servers []string
	// Name is what the broker's operators see.
	Name       string
	Credential Credential
	// CAFile holds the PEM of a private certificate authority; empty trusts the
	// system's.
	CAFile string
	// InboxPrefix is where replies are received; empty is "_INBOX". A device
	// must use contracts.InboxPrefix.
	InboxPrefix string
	// FailFast makes Connect wait for the first connection and fail when there
	// is none, as a command line wants it. Otherwise Connect returns at once and
	// the connection is tried for until Close.
	FailFast bool
	// ReconnectWait is the shortest pause before a reconnection; zero is 500ms.
	ReconnectWait time.Duration
	// ReconnectJitter spreads reconnections over this time, so that a restarted
	// broker is not overrun; zero is 10s. It should be at least the number of
	// clients divided by the connections per second that the broker can take.
	ReconnectJitter time.Duration
	// Logger is told of permission violations, slow consumers, and stored records
	// that do not decode; nil for none.
	Logger *slog.Logger
}

// orDiscard returns log, or a logger that drops everything.
func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

func (c *Conn) options(config Config) ([]nats.Option, error) {
	if err := checkServers(config.Servers); err != nil {
		return nil, err
	}
	wait, jitter := cmp.Or(config.ReconnectWait, reconnectWait), cmp.Or(config.ReconnectJitter, defaultJitter)
	options := []nats.Option{
		nats.Name(config.Name),
		nats.Timeout(handshakeTimeout),
		nats.CustomReconnectDelay(func(int) time.Duration {
			c.noteHandshakeProblem()
			if c.dialer.release() {
				return 0
			}
			return wait + rand.N(jitter) //nolint:gosec // spreads load, guards nothing
		}),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.RetryOnFailedConnect(!config.FailFast),
		// What could not be sent is refused, not sent later: by then it is stale.
		nats.ReconnectBufSize(-1),
		// The dialer resolves names, with its own time limit.
		nats.SkipHostLookup(),
		nats.SetCustomDialer(c.dialer),
		nats.DrainTimeout(drainTimeout),
		nats.ConnectHandler(c.connected),
		nats.ReconnectHandler(c.connected),
		nats.DisconnectErrHandler(c.disconnected),
		nats.ReconnectErrHandler(c.attemptFailed),
		nats.ErrorHandler(c.asyncError),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
	}
	if config.FailFast {
		options = append(options, nats.Timeout(failFastTimeout))
	}
	if config.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(config.InboxPrefix))
	}
	if config.CAFile != "" {
		if err := checkCertificates(config.CAFile); err != nil {
			return nil, err
		}
		options = append(options, nats.RootCAs(config.CAFile))
	}
	if c.tokens != nil {
		if config.Exposed() {
			c.log.Warn("the token that this client shows can be read and used by whoever is on the way to the broker: write the server as tls://HOST:PORT, or name the broker's certificate authority")
		}
		options = append(options, nats.TokenHandler(c.tokens.value))
	}
	if config.Credential.option != nil {
		credential, err := config.Credential.option()
		if err != nil {
			return nil, domain.WrapError(domain.ErrInvalid, err, "credential for the broker")
		}
		options = append(options, credential)
	}
	return options, nil
}

// Exposed reports whether a token could cross the network without TLS: to a URL
// that begins with nats://, TLS is used only when whoever answers asks for it.
// With an authority, and with tls://, it always is.
func (c Config) Exposed() bool {
	if c.CAFile != "" {
		return false
	}
	return slices.ContainsFunc(c.Servers, func(server string) bool {
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		parsed, err := url.Parse(server)
		if err != nil || parsed.Scheme == "tls" || parsed.Scheme == "wss" || parsed.Hostname() == "localhost" {
			return false
		}
		ip, err := netip.ParseAddr(parsed.Hostname())
		return err != nil || !ip.IsLoopback()
	})
}

// checkServers names a server that is not a URL by its place: the URL may hold
// a password.
func checkServers(servers []string) error {
	if len(servers) == 0 {
		return domain.Errorf(domain.ErrInvalid, `no server to connect to: name at least one URL, such as "nats://host:4222"`)
	}
	for i, server := range servers {
		if !strings.Contains(server, "://") {
			server = "nats://" + server // as nats.go takes it
		}
		parsed, err := url.Parse(server)
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err
		}
		if err == nil && parsed.Hostname() == "" {
			err = errors.New("it names no host")
		}
		if err != nil {
			return domain.WrapError(domain.ErrInvalid, err, `server %d of %d is not a URL such as "nats://host:4222"`, i+1, len(servers))
		}
	}
	return nil
}

func checkCertificates(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "certificate authority")
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return domain.Errorf(domain.ErrInvalid, "certificate authority %s holds no certificate in PEM", file)
	}
	return nil
}

func joinServers(servers []string) string { return strings.Join(servers, ",") }
