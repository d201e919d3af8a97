package host

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

const pinPrefix = "SHA256:"

func checkPin(pin string) error {
	if pin == "" {
		return nil
	}
	digest, ok := strings.CutPrefix(pin, pinPrefix)
	if raw, err := base64.RawStdEncoding.DecodeString(digest); !ok || err != nil || len(raw) != 32 {
		return domain.Errorf(domain.ErrInvalid, "hostKey: %q is no fingerprint: write it as `ssh-keygen -lf` prints it, SHA256:…", pin)
	}
	return nil
}

// verification returns the check of the host's key, and the kinds of key to ask
// the server for, one after the other.
func (c *Config) verification() (ssh.HostKeyCallback, [][]string, error) {
	each := [][]string{
		{ssh.KeyAlgoED25519},
		{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
		{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
	}
	if c.HostKey != "" {
		return c.pinned, each, nil
	}
	known, err := knownhosts.New(c.KnownHosts)
	if err != nil {
		return nil, nil, deploy.WithNext(domain.WrapError(domain.ErrUnauthenticated, err, "the known keys of hosts"),
			"compare the host's fingerprint at its console and give it as hostKey, or add it: ssh-keyscan %s >>%s", c.scanTarget(), c.KnownHosts)
	}
	check := func(hostname string, remote net.Addr, key ssh.PublicKey) error {
		return c.explain(known(hostname, remote, key), key)
	}
	kinds := algorithms(known, c.Address)
	if len(kinds) == 0 {
		kinds = slices.Concat(each...) // none will do, and the error tells its first
	}
	return check, [][]string{kinds}, nil
}

func (c *Config) pinned(_ string, _ net.Addr, key ssh.PublicKey) error {
	if found := ssh.FingerprintSHA256(key); found != c.HostKey {
		return c.wrong(found, fmt.Sprintf("%s was pinned", c.HostKey))
	}
	return nil
}

// explain gives the known_hosts check's error a kind and advice.
func (c *Config) explain(err error, key ssh.PublicKey) error {
	if err == nil {
		return nil
	}
	found := ssh.FingerprintSHA256(key)
	mismatch, ok := errors.AsType[*knownhosts.KeyError](err)
	if !ok {
		return domain.WrapError(domain.ErrUnauthenticated, err, "the key of %s", c.Address)
	}
	if len(mismatch.Want) == 0 {
		return deploy.WithNext(domain.Errorf(domain.ErrUnauthenticated, "the key of %s, %s, is not in %s", c.Address, found, c.KnownHosts),
			"compare the fingerprint at the host's console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then give it as hostKey or add it: ssh-keyscan %s >>%s", c.scanTarget(), c.KnownHosts)
	}
	want := mismatch.Want[0]
	return c.wrong(found, fmt.Sprintf("%s is in line %d of %s", ssh.FingerprintSHA256(want.Key), want.Line, want.Filename))
}

func (c *Config) wrong(found, expected string) error {
	return deploy.WithNext(domain.Errorf(domain.ErrUnauthenticated, "%s shows another key than expected: %s, but %s; it may be another machine", c.Address, found, expected),
		"find out whether the host was installed anew; only then replace the key that is expected")
}

func (c *Config) scanTarget() string {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || port == "22" {
		return host
	}
	return "-p " + port + " " + host
}

// algorithms returns those of the host's known keys. A server that has keys of
// several kinds would otherwise show one that is not known.
func algorithms(known ssh.HostKeyCallback, address string) []string {
	mismatch, ok := errors.AsType[*knownhosts.KeyError](known(address, &net.TCPAddr{}, noKey{}))
	if !ok {
		return nil
	}
	var names []string
	for _, want := range mismatch.Want {
		if want.Key.Type() == ssh.KeyAlgoRSA {
			names = append(names, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		names = append(names, want.Key.Type())
	}
	return names
}

// noKey is a key that no file knows.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.ErrUnsupported }
