package nats

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// strangersToken is nobody's.
const strangersToken = "fleet-deploy-smoke-test"

// RefusesStrangers connects to the broker at an address, with a token that is
// nobody's, and returns nil when it is refused. With TLS, the certificate must be
// valid for host, by the authorities in ca or, without any, those of this machine.
// ErrUnavailable when the broker does not answer or nobody decides, ErrConflict
// when it admits strangers.
func RefusesStrangers(ctx context.Context, address, host string, ca []byte) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "connect to the broker")
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	line, err := readGreeting(conn)
	if err != nil {
		return err
	}
	said, err := parseGreeting(line)
	if err != nil {
		return err
	}
	if said.TLSRequired {
		client, err := handshake(ctx, conn, host, ca)
		if err != nil {
			return err
		}
		conn = client
	}
	if _, err := fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"pedantic\":false,\"protocol\":1,\"lang\":\"go\",\"version\":\"1\",\"name\":\"fleet-deploy smoke test\",\"auth_token\":%q}\r\nPING\r\n", strangersToken); err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "log in at the broker")
	}
	return refusal(conn)
}

// readGreeting reads one line and nothing behind it: TLS begins there.
func readGreeting(conn io.Reader) ([]byte, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) < maxAnswer {
		if _, err := io.ReadFull(conn, one); err != nil {
			return nil, domain.WrapError(domain.ErrUnavailable, err, "wait for the broker's greeting")
		}
		if line = append(line, one[0]); one[0] == '\n' {
			return line, nil
		}
	}
	return nil, domain.Errorf(domain.ErrUnavailable, "what answers is no broker")
}

// refusal reads what the broker says to a login.
func refusal(conn io.Reader) error {
	lines := bufio.NewScanner(io.LimitReader(conn, maxAnswer))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case strings.HasPrefix(line, "-ERR") && strings.Contains(line, "Authorization Violation"):
			return nil
		case strings.HasPrefix(line, "-ERR"):
			return domain.Errorf(domain.ErrUnavailable, "the broker says %q to a stranger", strings.TrimPrefix(line, "-ERR "))
		case line == "PONG":
			return deploy.WithNext(domain.Errorf(domain.ErrConflict, "the broker admits strangers"),
				"see what else changes its configuration: with the callout it would ask")
		}
	}
	return domain.WrapError(domain.ErrUnavailable, errors.Join(lines.Err(), io.ErrUnexpectedEOF), "nobody decided about a stranger within %s", answerTimeout)
}

// handshake proves the broker's certificate as a client does.
func handshake(ctx context.Context, conn net.Conn, host string, ca []byte) (net.Conn, error) {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if len(ca) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, domain.Errorf(domain.ErrInvalid, "the broker's authority: no certificate in PEM")
		}
	}
	client := tls.Client(conn, config)
	err := client.HandshakeContext(ctx)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return nil, deploy.WithNext(domain.WrapError(domain.ErrInvalid, err, "clients will refuse its certificate"),
			"give it a certificate for %s by an authority that clients trust", host)
	}
	return client, domain.WrapError(domain.ErrUnavailable, err, "TLS")
}
