package doctor

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
)

// server is one broker server as the agent's NATS client takes its URL.
type server struct {
	scheme, host, port string
}

func (s server) address() string { return net.JoinHostPort(s.host, s.port) }

// parseServer never quotes the URL: it may hold a password.
func parseServer(text string) (server, error) {
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Hostname() == "" {
		return server{}, errors.New(`not a URL such as "nats://host:4222"`)
	}
	port := "4222"
	switch parsed.Scheme {
	case "ws":
		port = "80"
	case "wss":
		port = "443"
	}
	return server{scheme: parsed.Scheme, host: parsed.Hostname(), port: cmp.Or(parsed.Port(), port)}, nil
}

func checkServers(ctx context.Context, broker config.Broker, timeout time.Duration) []Check {
	roots, problem := authorities(broker.CAFile)
	if problem != nil {
		return []Check{*problem}
	}
	var questions []func() []Check
	for i, text := range broker.Servers {
		questions = append(questions, func() []Check {
			s, err := parseServer(text)
			if err != nil {
				return []Check{fail(fmt.Sprintf("broker %d", i+1), err.Error(), "correct broker.servers in the configuration")}
			}
			return s.check(ctx, roots, timeout)
		})
	}
	return together(questions)
}

// authorities returns nil for those of the system.
func authorities(path string) (*x509.CertPool, *Check) {
	if path == "" {
		return nil, nil
	}
	const name, next = "broker.ca_file", "copy the PEM of the broker's certificate authority there"
	data, err := os.ReadFile(path)
	if err != nil {
		problem := fail(name, err.Error(), next)
		return nil, &problem
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		problem := fail(name, path+" holds no certificate in PEM", next)
		return nil, &problem
	}
	return roots, nil
}

func (s server) check(ctx context.Context, roots *x509.CertPool, timeout time.Duration) []Check {
	resolved := s.resolve(ctx, timeout)
	if resolved.Level != OK {
		return []Check{resolved}
	}
	return []Check{resolved, s.reach(ctx, roots, timeout)}
}

func (s server) resolve(ctx context.Context, timeout time.Duration) Check {
	name := "DNS " + s.host
	if net.ParseIP(s.host) != nil {
		return ok(name, "is an address")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, s.host)
	if err != nil {
		return fail(name, err.Error(), "check the name, the device's network (`ip route`) and its name servers (/etc/resolv.conf)")
	}
	return ok(name, "is %s", strings.Join(addresses, ", "))
}

// reach connects as the agent does, up to the credential.
func (s server) reach(ctx context.Context, roots *x509.CertPool, timeout time.Duration) Check {
	name := "broker " + s.address()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address())
	if err != nil {
		return fail(name, err.Error(), "check that the broker runs, its port, and the firewalls and links on the way")
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return fail(name, err.Error(), "try again")
	}
	secure := s.scheme == "tls" || s.scheme == "wss" || roots != nil
	switch s.scheme {
	case "ws":
		return ok(name, "can be reached, without TLS")
	case "wss":
	default:
		offered, required, err := greeting(conn)
		if err != nil {
			return fail(name, "answers, but not as a NATS server: "+err.Error(), "check the port in broker.servers")
		}
		if secure && !offered {
			return fail(name, "is a NATS server without TLS, but the configuration asks for it", "set up TLS on the broker; do not do without it on a foreign network")
		}
		secure = secure || required
	}
	if !secure {
		return ok(name, "is a NATS server, without TLS")
	}
	return s.handshake(ctx, name, conn, roots)
}

func (s server) handshake(ctx context.Context, name string, conn net.Conn, roots *x509.CertPool) Check {
	secured := tls.Client(conn, &tls.Config{ServerName: s.host, RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err := secured.HandshakeContext(ctx); err != nil {
		return fail(name, "TLS: "+err.Error(), nextForTLS(err))
	}
	state := secured.ConnectionState()
	return ok(name, "can be reached, %s, certificate valid until %s", tls.VersionName(state.Version), state.PeerCertificates[0].NotAfter.UTC().Format(time.RFC3339))
}

func nextForTLS(err error) string {
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return "set broker.ca_file to the certificate authority that signed the broker's certificate"
	}
	if _, wrong := errors.AsType[x509.HostnameError](err); wrong {
		return "use a name in broker.servers that the broker's certificate is for"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "check this device's clock; if it is right, renew the broker's certificate"
	}
	return "check the broker's TLS settings"
}

// maxGreeting bounds a NATS server's first line, in bytes.
const maxGreeting = 64 << 10

// greeting reads what a NATS server says first.
func greeting(conn net.Conn) (offersTLS, requiresTLS bool, err error) {
	line, err := bufio.NewReader(io.LimitReader(conn, maxGreeting)).ReadString('\n')
	if err != nil {
		return false, false, err
	}
	body, found := strings.CutPrefix(line, "INFO ")
	if !found {
		return false, false, errors.New("it does not begin with INFO")
	}
	var info struct {
		Available bool `json:"tls_available"`
		Required  bool `json:"tls_required"`
	}
	if err := json.Unmarshal([]byte(body), &info); err != nil {
		return false, false, err
	}
	return info.Available || info.Required, info.Required, nil
}
