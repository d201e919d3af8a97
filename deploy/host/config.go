package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Config says how to reach a host. Address is required; the rest has defaults.
type Config struct {
	// Address is a host name or IP address with or without a port, 22 by default.
	Address string
	// User logs in; root by default. Another one becomes root with sudo, which
	// must not ask for a password.
	User string
	// KeyFile holds a private key without a passphrase. Without one, the keys of
	// the running SSH agent are offered.
	KeyFile string
	// AgentSocket is the SSH agent's; SSH_AUTH_SOCK, for instance.
	AgentSocket string
	// HostKey pins the host's key by its fingerprint, "SHA256:…", as
	// `ssh-keygen -lf` prints it.
	HostKey string
	// KnownHosts is the file of known host keys, used without HostKey;
	// ~/.ssh/known_hosts by default.
	KnownHosts string
}

func (c *Config) complete() error {
	if c.Address == "" {
		return domain.Errorf(domain.ErrInvalid, "address: name the host")
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		c.Address = net.JoinHostPort(c.Address, "22")
	}
	if c.User == "" {
		c.User = "root"
	}
	if c.KnownHosts == "" {
		home, err := os.UserHomeDir()
		if err != nil && c.HostKey == "" {
			return domain.WrapError(domain.ErrInvalid, err, "knownHosts: no home directory to look in")
		}
		c.KnownHosts = filepath.Join(home, ".ssh", "known_hosts")
	}
	return checkPin(c.HostKey)
}

func (c *Config) sudo() bool { return c.User != "root" }

// client returns the configuration of one connection, but for the host's key.
func (c *Config) client(ctx context.Context) (*ssh.ClientConfig, error) {
	auth, err := c.auth(ctx)
	if err != nil {
		return nil, err
	}
	return &ssh.ClientConfig{User: c.User, Auth: []ssh.AuthMethod{auth}, Timeout: dialTimeout}, nil
}

func (c *Config) auth(ctx context.Context) (ssh.AuthMethod, error) {
	if c.KeyFile != "" {
		signer, err := readKey(c.KeyFile)
		if err != nil {
			return nil, err
		}
		return ssh.PublicKeys(signer), nil
	}
	if c.AgentSocket == "" {
		return nil, deploy.WithNext(domain.Errorf(domain.ErrUnauthenticated, "no key to log in at %s with: no key file is named and no SSH agent runs", c.Address),
			"name a key file, or start an agent: eval $(ssh-agent) && ssh-add")
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", c.AgentSocket)
	if err != nil {
		return nil, deploy.WithNext(domain.WrapError(domain.ErrUnauthenticated, err, "ask the SSH agent"), "start an agent (eval $(ssh-agent) && ssh-add), or name a key file")
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // ctx is the handshake's
	return ssh.PublicKeysCallback(agent.NewClient(conn).Signers), nil
}

func readKey(path string) (ssh.Signer, error) {
	pem, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, domain.WrapError(domain.ErrNotFound, err, "SSH key")
	}
	if err != nil {
		return nil, fmt.Errorf("SSH key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted {
		return nil, deploy.WithNext(domain.Errorf(domain.ErrInvalid, "SSH key %s needs a passphrase", path),
			"load it into an SSH agent (ssh-add %s) and name no key file", path)
	}
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "SSH key %s", path)
	}
	return signer, nil
}
