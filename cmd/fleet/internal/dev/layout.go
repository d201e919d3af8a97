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

func (l layout) store() string          { return filepath.Join(l.root, "nats") }
func (l layout) signingKey() string     { return filepath.Join(l.root, "keys", "signing.pem") }
func (l layout) operatorNKey() string   { return filepath.Join(l.root, "keys", "operator.nk") }
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
