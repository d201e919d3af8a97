package host

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	dialTimeout = 20 * time.Second
	// aliveInterval is how often a silent connection is asked whether it lives,
	// and aliveTimeout how long the answer may take.
	aliveInterval = 10 * time.Second
	aliveTimeout  = 20 * time.Second
	// maxOutput bounds what is kept of a script's output.
	maxOutput = 1 << 20
)

// SSH is a host over SSH. It connects when first used, and again after the
// connection broke. Several scripts run at once over one connection.
type SSH struct {
	config Config

	mu     sync.Mutex
	client *ssh.Client
	closed bool
}

var _ deploy.Shell = (*SSH)(nil)

// New returns the host of a configuration, without connecting yet. Close it
// after use. Errors name the field of the configuration.
func New(config Config) (*SSH, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	return &SSH{config: config}, nil
}

// Close ends the connection and what runs over it.
func (h *SSH) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.client == nil {
		return nil
	}
	err := h.client.Close()
	h.client = nil
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Run implements deploy.Shell. When ctx ends, the connection's session is
// closed; the script gets SIGTERM if the server passes signals on.
func (h *SSH) Run(ctx context.Context, script deploy.Script) (deploy.Result, error) {
	client, err := h.connect(ctx)
	if err != nil {
		return deploy.Result{}, err
	}
	session, err := client.NewSession()
	if err != nil {
		h.drop(client)
		return deploy.Result{}, h.broken(err)
	}
	defer func() { _ = session.Close() }()
	stdout, stderr := &limited{}, &limited{}
	session.Stdin, session.Stdout, session.Stderr = script.Stdin, stdout, stderr
	ended := make(chan error, 1)
	go func() { ended <- session.Run(h.command(script)) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = session.Signal(ssh.SIGTERM)
		_ = session.Close()
		return deploy.Result{}, domain.WrapError(domain.ErrUnavailable, context.Cause(ctx), "run a script on %s", h.config.Address)
	}
	result := deploy.Result{Stdout: stdout.String(), Stderr: stderr.String()}
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		result.Code = exit.ExitStatus()
		if exit.Signal() != "" {
			return result, domain.Errorf(domain.ErrUnavailable, "the script on %s was ended by signal %s", h.config.Address, exit.Signal())
		}
		return result, nil
	}
	if err != nil {
		h.drop(client)
		return result, h.broken(err)
	}
	return result, nil
}

func (h *SSH) broken(err error) error {
	return deploy.WithNext(domain.WrapError(domain.ErrUnavailable, err, "the SSH connection to %s broke", h.config.Address),
		"see that the host is up and its network holds, and run the same command again: it goes on where it stopped")
}

// mayBecomeRoot proves it once per connection: later a script's failure is its own.
func (h *SSH) mayBecomeRoot(client *ssh.Client) error {
	if !h.config.sudo() {
		return nil
	}
	session, err := client.NewSession()
	if err != nil {
		return h.broken(err)
	}
	defer func() { _ = session.Close() }()
	stderr := &limited{}
	session.Stderr = stderr
	err = session.Run("LC_ALL=C sudo -n true")
	if err == nil {
		return nil
	}
	if _, refused := errors.AsType[*ssh.ExitError](err); !refused {
		return h.broken(err)
	}
	return deploy.WithNext(domain.Errorf(domain.ErrPermissionDenied, "user %s may not become root on %s: %s", h.config.User, h.config.Address, lastLines(stderr.String(), 1)),
		"let the user run sudo without a password (a line `%s ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d/), or connect as root", h.config.User)
}

func (h *SSH) command(script deploy.Script) string {
	command := "sh -c " + quote(script.Text) + " sh"
	for _, arg := range script.Args {
		command += " " + quote(arg)
	}
	if h.config.sudo() {
		command = "LC_ALL=C sudo -n -- " + command
	}
	return command
}

// quote makes text one word of a POSIX shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func (h *SSH) connect(ctx context.Context) (*ssh.Client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, domain.Errorf(domain.ErrInvalid, "the connection to %s was closed", h.config.Address)
	}
	if h.client != nil {
		return h.client, nil
	}
	client, err := h.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.mayBecomeRoot(client); err != nil {
		_ = client.Close()
		return nil, err
	}
	h.client = client
	go h.keepAlive(client) // ends with the client
	return client, nil
}

func (h *SSH) drop(client *ssh.Client) {
	_ = client.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client == client {
		h.client = nil
	}
}

// dial tries the kinds of key that the host's may be of, in turn: a server with
// keys of several kinds shows one, and perhaps not the one that is pinned.
func (h *SSH) dial(ctx context.Context) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	verify, kinds, err := h.config.verification()
	if err != nil {
		return nil, err
	}
	var first error
	for _, kind := range kinds {
		client, wrongKey, err := h.handshake(ctx, verify, kind)
		if err == nil {
			return client, nil
		}
		if first == nil || (wrongKey && errors.Is(first, errNoSuchKey)) {
			first = err
		}
		if !wrongKey && !errors.Is(err, errNoSuchKey) {
			return nil, err
		}
	}
	return nil, first
}

// errNoSuchKey: the server has no key of the kind that was asked for.
var errNoSuchKey = errors.New("the host has no key of that kind")

// handshake makes one attempt. The second result says that the host's key is
// not the expected one.
func (h *SSH) handshake(ctx context.Context, verify ssh.HostKeyCallback, kinds []string) (*ssh.Client, bool, error) {
	config, err := h.config.client(ctx)
	if err != nil {
		return nil, false, err
	}
	var problem error
	config.HostKeyAlgorithms = kinds
	config.HostKeyCallback = func(hostname string, remote net.Addr, key ssh.PublicKey) error {
		problem = verify(hostname, remote, key)
		return problem
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", h.config.Address)
	if err != nil {
		return nil, false, deploy.WithNext(domain.WrapError(domain.ErrUnavailable, err, "connect to %s", h.config.Address),
			"see that the host is up, the address is right and its SSH server answers: ssh %s@%s", h.config.User, h.config.Address)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	link, channels, requests, err := ssh.NewClientConn(conn, h.config.Address, config)
	if err == nil {
		return ssh.NewClient(link, channels, requests), false, nil
	}
	_ = conn.Close()
	if problem != nil {
		return nil, true, problem
	}
	if mismatch, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok && len(kinds) > 0 {
		return nil, false, domain.WrapError(domain.ErrUnauthenticated, errors.Join(errNoSuchKey, mismatch), "the key of %s", h.config.Address)
	}
	return nil, false, h.refused(err)
}

// refused tells a server that knows no key of ours from one that broke off.
func (h *SSH) refused(err error) error {
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return domain.WrapError(domain.ErrUnavailable, err, "SSH handshake with %s", h.config.Address)
	}
	return deploy.WithNext(domain.WrapError(domain.ErrUnauthenticated, err, "log in as %s at %s", h.config.User, h.config.Address),
		"add the key's public half to ~/.ssh/authorized_keys of %s on the host, or name another key or user", h.config.User)
}

// keepAlive closes a connection whose other end is gone without a word, so that
// what waits for it ends.
func (h *SSH) keepAlive(client *ssh.Client) {
	gone := make(chan struct{})
	go func() {
		_ = client.Wait()
		close(gone)
	}()
	ticker := time.NewTicker(aliveInterval)
	defer ticker.Stop()
	for {
		select {
		case <-gone:
			return
		case <-ticker.C:
		}
		answered := make(chan error, 1)
		go func() {
			_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
			answered <- err
		}()
		select {
		case <-gone:
			return
		case err := <-answered:
			if err == nil {
				continue
			}
		case <-time.After(aliveTimeout):
		}
		h.drop(client)
	}
}
