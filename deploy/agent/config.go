package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Config is the part of the agent's configuration that a deployment decides.
// The agent itself checks it on the host before it is put into place.
type Config struct {
	// SigningKeys are the fleet's public keys, "ed25519:…". An enrolled device
	// trusts the one that signed its token without them.
	SigningKeys []string
	// Servers are the URLs of the broker.
	Servers []string
	// CA holds the PEM of the only authorities to trust for the broker; empty
	// for the host's.
	CA []byte
	// NKey is the seed of the device's key at the broker; User and Password, and
	// Enrollment, are the alternatives.
	NKey       []byte
	User       string
	Password   []byte
	Enrollment *Enrollment
	// Labels are the device's own.
	Labels contracts.Labels
	// LogLevel is the agent's default when empty.
	LogLevel string
	// DisableProcesses and DisablePodman switch a runtime off.
	DisableProcesses bool
	DisablePodman    bool
}

// file is a file of the agent on its host.
type file struct {
	path    string
	content []byte
}

func inConfigDir(name string) string { return path.Join(configDir, name) }

func (c *Config) caFile() string {
	if len(c.CA) == 0 {
		return ""
	}
	return inConfigDir("ca.pem")
}

// secrets returns the files that the configuration names.
func (c *Config) secrets() []file {
	var files []file
	if len(c.CA) > 0 {
		files = append(files, file{c.caFile(), c.CA})
	}
	if len(c.NKey) > 0 {
		files = append(files, file{inConfigDir("device.nk"), c.NKey})
	}
	if c.User != "" {
		files = append(files, file{inConfigDir("password"), c.Password})
	}
	return files
}

// Files returns the device's whole configuration as files of /etc/fleet-agent by
// their names, for agents that are not on a host of their own. Secrets are among
// them.
func (c *Config) Files(device contracts.DeviceID) (map[string][]byte, error) {
	config, err := c.render(device)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, file := range append(c.secrets(), file{configPath, config}) {
		files[path.Base(file.path)] = file.content
	}
	return files, nil
}

func (c *Config) check() error {
	for _, text := range c.SigningKeys {
		if _, err := contracts.ParsePublicKey(text); err != nil {
			return domain.WrapError(domain.ErrInvalid, err, "signing keys")
		}
	}
	switch {
	case len(c.SigningKeys) == 0 && c.Enrollment == nil:
		return domain.Errorf(domain.ErrInvalid, "signing keys: name at least one, as `fleet-operator pubkey` prints it")
	case len(c.Servers) == 0:
		return domain.Errorf(domain.ErrInvalid, "servers: name at least one URL of the broker")
	case len(c.NKey) > 0 && c.User != "":
		return domain.Errorf(domain.ErrInvalid, "credential: give a key or a user, not both")
	case c.Enrollment != nil && (len(c.NKey) > 0 || c.User != ""):
		return domain.Errorf(domain.ErrInvalid, "credential: a device that enrolls needs neither a key nor a user")
	case c.Enrollment != nil && c.Enrollment.Token == nil:
		return domain.Errorf(domain.ErrInvalid, "enrollment: say where the token comes from")
	case (c.User == "") != (len(c.Password) == 0):
		return domain.Errorf(domain.ErrInvalid, "credential: a user needs a password, and a password a user")
	}
	if err := c.Labels.Validate(); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "labels")
	}
	return nil
}

// render writes the configuration file. It is always the same for the same input.
func (c *Config) render(device contracts.DeviceID) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString("# Written by fleet-deploy, which replaces it when it is run again.\n")
	set := func(key string, value any) { fmt.Fprintf(&b, "%s = %s\n", key, toml(value)) }
	if c.Enrollment == nil { // an enrolled device knows who it is
		set("device", string(device))
	}
	set("state_dir", stateDir)
	if len(c.SigningKeys) > 0 {
		set("signing_keys", c.SigningKeys)
	}
	b.WriteString("\n[broker]\n")
	set("servers", c.Servers)
	if len(c.NKey) > 0 {
		set("nkey_file", inConfigDir("device.nk"))
	}
	if c.User != "" {
		set("user", c.User)
		set("password_file", inConfigDir("password"))
	}
	if len(c.CA) > 0 {
		set("ca_file", c.caFile())
	}
	if c.LogLevel != "" {
		b.WriteString("\n[log]\n")
		set("level", c.LogLevel)
	}
	if c.DisableProcesses {
		b.WriteString("\n[process]\n")
		set("disabled", true)
	}
	if c.DisablePodman {
		b.WriteString("\n[podman]\n")
		set("disabled", true)
	}
	if len(c.Labels) > 0 {
		b.WriteString("\n[labels]\n")
		for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
			set(toml(key), c.Labels[key])
		}
	}
	return []byte(b.String()), nil
}

// toml writes a string, a list of them or a boolean. Of these, JSON's form is
// TOML's as well.
func toml(value any) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return `""` // no string, list or boolean fails
	}
	return strings.TrimSpace(b.String())
}
