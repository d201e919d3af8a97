// Package dev runs a whole fleet on one machine: broker, operator and agents.
package dev

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony-fleet/contracts"
)

// layout is where a development fleet keeps its files. Everything lies below
// one directory, so that one removal cleans up.
type layout struct {
	root string
}

func (l layout) store() string        { return filepath.Join(l.root, "nats") }
func (l layout) signingKey() string   { return filepath.Join(l.root, "keys", "signing.pem") }
func (l layout) operatorNKey() string { return filepath.Join(l.root, "keys", "operator.nk") }
func (l layout) issuerNKey() string   { return filepath.Join(l.root, "keys", "issuer.nk") }
func (l layout) exchangeNKey() string { return filepath.Join(l.root, "keys", "exchange.nk") }
func (l layout) calloutNKey() string  { return filepath.Join(l.root, "keys", "callout.nk") }
func (l layout) systemNKey() string   { return filepath.Join(l.root, "keys", "system.nk") }
func (l layout) calloutCache() string { return filepath.Join(l.root, "callout") }
func (l layout) calloutLog() string   { return filepath.Join(l.root, "callout.log") }
func (l layout) identity() string     { return filepath.Join(l.root, "identity") }
func (l layout) identityLog() string  { return filepath.Join(l.root, "identity.log") }

// identityAddress is the file with the address of the identity provider, which
// must stay: every token names it.
func (l layout) identityAddress() string { return filepath.Join(l.root, "identity-address") }

func (l layout) operatorConfig() string { return filepath.Join(l.root, "operator.yaml") }
func (l layout) operatorLog() string    { return filepath.Join(l.root, "operator.log") }
func (l layout) ready() string          { return filepath.Join(l.root, "ready.json") }

func (l layout) device(id contracts.DeviceID) deviceLayout {
	return deviceLayout{root: filepath.Join(l.root, "devices", string(id))}
}

// deviceLayout is where one device keeps its files.
type deviceLayout struct {
	root string
}

func (d deviceLayout) config() string { return filepath.Join(d.root, "config.toml") }
func (d deviceLayout) nkey() string   { return filepath.Join(d.root, "device.nk") }
func (d deviceLayout) state() string  { return filepath.Join(d.root, "state") }
func (d deviceLayout) log() string    { return filepath.Join(d.root, "agent.log") }
func (d deviceLayout) token() string  { return filepath.Join(d.root, "token") }

// enrolled is the file that is there once the device has an identity.
func (d deviceLayout) enrolled() string { return filepath.Join(d.root, "enrolled") }

func (d deviceLayout) isEnrolled() bool { return exists(d.enrolled()) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// checkAuth refuses a fleet that was made the other way: neither its streams
// nor its keys are of use.
func (l layout) checkAuth(auth bool) error {
	if !exists(l.operatorNKey()) || exists(l.issuerNKey()) == auth {
		return nil
	}
	if auth {
		return fmt.Errorf("the fleet in %s was made without --auth: leave --auth out, or name another directory with --dir", l.root)
	}
	return fmt.Errorf("the fleet in %s was made with --auth: set --auth, or name another directory with --dir", l.root)
}

// newLayout makes the directory, or a temporary one when dir is empty, and
// returns how to remove it again; a directory that was named is kept.
func newLayout(dir string) (layout, func() error, error) {
	if dir == "" {
		temporary, err := os.MkdirTemp("", "fleet-dev-")
		if err != nil {
			return layout{}, nil, fmt.Errorf("make a directory for the fleet: %w", err)
		}
		return layout{root: temporary}, func() error { return os.RemoveAll(temporary) }, nil
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return layout{}, nil, fmt.Errorf("directory %s: %w", dir, err)
	}
	return layout{root: absolute}, func() error { return nil }, os.MkdirAll(absolute, 0o700)
}
