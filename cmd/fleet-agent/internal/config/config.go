// Package config reads the agent's configuration file.
package config

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/identity"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/metrics"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

const (
	// DefaultPath is where a packaged agent finds its configuration.
	DefaultPath = "/etc/fleet-agent/config.toml"
	// DefaultStateDir is that of a packaged agent.
	DefaultStateDir = "/var/lib/fleet-agent"
	// identityDir is where an enrolled device keeps who it is, below the state
	// directory.
	identityDir = "identity"
)

// Config is the agent's configuration file, in TOML. Unknown keys are errors.
type Config struct {
	// Device is this device's ID. Without it, who the device is comes from its
	// enrollment, and so do SigningKeys and Broker as far as they are not set.
	Device contracts.DeviceID `toml:"device"`
	// StateDir holds the desired state, the last report, the identity and the
	// workloads' files; absolute, DefaultStateDir when empty.
	StateDir string `toml:"state_dir"`
	// SigningKeys are the fleet's public keys, "ed25519:<base64>".
	SigningKeys []string `toml:"signing_keys"`
	// Identity is set on an enrolled device.
	Identity *identity.Identity `toml:"-"`
	// Labels are reported as self-asserted labels of the device.
	Labels contracts.Labels `toml:"labels"`
	Broker Broker           `toml:"broker"`
	Log    Log              `toml:"log"`
	// Process is the runtime of supervised processes.
	Process Process `toml:"process"`
	// Podman is the runtime of containers, on Podman or Docker.
	Podman Podman `toml:"podman"`
	// Commands is what may be run from afar.
	Commands Commands `toml:"commands"`
	// Metrics is where Prometheus reads.
	Metrics Metrics `toml:"metrics"`
}

// Broker says how to reach the fleet's message broker.
type Broker struct {
	// Servers are URLs such as "nats://broker.example:4222" or "tls://…".
	Servers []string `toml:"servers"`
	// NKeyFile holds the device's NATS nkey seed, mode 0600.
	NKeyFile string `toml:"nkey_file"`
	// User and PasswordFile are the alternative to NKeyFile.
	User         string `toml:"user"`
	PasswordFile string `toml:"password_file"`
	// CAFile holds the PEM of the certificate authorities to trust, beside
	// none other; empty for the system's.
	CAFile string `toml:"ca_file"`
}

// Log says what is logged and how.
type Log struct {
	// Level is "debug", "info" (default), "warn" or "error".
	Level slog.Level `toml:"level"`
	// Format is "text" (default) or "json".
	Format string `toml:"format"`
}

// Process configures the runtime of supervised processes.
type Process struct {
	// Disabled agents refuse ProcessV0 scores.
	Disabled bool `toml:"disabled"`
}

// Podman configures the runtime of containers.
type Podman struct {
	// Disabled agents refuse PodmanV0 scores.
	Disabled bool `toml:"disabled"`
	// Socket is the engine's socket; empty for the first that answers of those
	// that Podman and Docker use.
	Socket string `toml:"socket"`
	// AuthFile holds registry credentials as `podman login` writes them; empty
	// for where Podman and Docker keep them.
	AuthFile string `toml:"auth_file"`
	// Owner begins the names of this agent's containers; empty for "fleet".
	// Several agents on one host need different ones, or each would remove
	// what the others run.
	Owner string `toml:"owner"`
	// PullTimeout bounds the pull of one image, such as "30m"; empty for 1h.
	PullTimeout Duration `toml:"pull_timeout"`
}

// Commands configures what `fleet exec` may run.
type Commands struct {
	// Exec is "none" (default), "workloads" for commands in the services of
	// deployments, or "all" for commands on the host as well, with the agent's
	// rights.
	Exec agent.ExecPolicy `toml:"exec"`
}

// Metrics configures the metrics.
type Metrics struct {
	// Listen is "HOST:PORT" or "unix:/PATH"; empty for nowhere.
	Listen string `toml:"listen"`
}

// Duration is a length of time, written as "90s" or "1h30m".
type Duration time.Duration

// UnmarshalText reads the Go form of a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil || parsed <= 0 {
		return fmt.Errorf("%q is not a duration: write a number with a unit, such as \"30m\"", text)
	}
	*d = Duration(parsed)
	return nil
}

// Load is Read, and the identity of an enrolled device. It returns an error that
// wraps identity.ErrNone when the device has none.
func Load(path string) (Config, error) {
	config, err := Read(path)
	if err != nil || config.Device != "" {
		return config, err
	}
	enrolled, err := config.Identities().Load()
	if err != nil {
		return Config{}, err
	}
	config.adopt(enrolled)
	return config, nil
}

// Identities is where an enrolled device keeps who it is.
func (c Config) Identities() *identity.Store {
	return identity.NewStore(filepath.Join(c.StateDir, identityDir), nil)
}

// adopt takes from the enrollment what the file leaves open.
func (c *Config) adopt(enrolled identity.Identity) {
	c.Identity, c.Device = &enrolled, enrolled.Device
	if len(c.SigningKeys) == 0 {
		c.SigningKeys = enrolled.Credential.SigningKeys
	}
	if len(c.Broker.Servers) == 0 {
		c.Broker.Servers = enrolled.Credential.Servers
	}
	if c.Broker.CAFile == "" {
		c.Broker.CAFile = c.Identities().AuthorityFile(enrolled)
	}
}

// Read reads and checks the file. Errors name the file and the key.
func Read(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Config{}, fmt.Errorf("no configuration at %s: name the file with --config or FLEET_AGENT_CONFIG", path)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	config, err := Parse(string(data))
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return config, nil
}

// Parse reads and checks a configuration.
func Parse(text string) (Config, error) {
	var config Config
	decoder := toml.NewDecoder(strings.NewReader(text)).DisallowUnknownFields()
	if err := decoder.Decode(&config); err != nil {
		return Config{}, explain(err)
	}
	config.StateDir = cmp.Or(config.StateDir, DefaultStateDir)
	if err := config.check(); err != nil {
		return Config{}, err
	}
	return config, nil
}

// explain names the key and the line that the TOML library found at fault.
func explain(err error) error {
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(unknown.Errors) > 0 {
		first := unknown.Errors[0]
		row, _ := first.Position()
		return fmt.Errorf("line %d: unknown key %q: remove it or correct its name", row, strings.Join(first.Key(), "."))
	}
	if broken, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := broken.Position()
		if key := strings.Join(broken.Key(), "."); key != "" {
			return fmt.Errorf("line %d: %s: %w", row, key, err)
		}
		return fmt.Errorf("line %d, column %d: %w", row, column, err)
	}
	return err
}

func (c Config) check() error {
	if !filepath.IsAbs(c.StateDir) {
		return fmt.Errorf("state_dir: %q must be an absolute path", c.StateDir)
	}
	if err := c.checkDevice(); err != nil {
		return err
	}
	if err := c.Labels.Validate(); err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	for key := range c.Labels {
		if strings.Contains(key, "/") {
			return fmt.Errorf("labels: %q: a device's own labels have no prefix; they appear as %s<name>", key, contracts.ReportedLabelPrefix)
		}
	}
	if c.Log.Format != "" && c.Log.Format != "text" && c.Log.Format != "json" {
		return fmt.Errorf("log.format: %q is unknown: use text or json", c.Log.Format)
	}
	switch c.Commands.Exec {
	case "", agent.ExecNone, agent.ExecWorkloads, agent.ExecAll:
	default:
		return fmt.Errorf("commands.exec: %q is unknown: use none, workloads or all", c.Commands.Exec)
	}
	if c.Metrics.Listen != "" {
		if err := metrics.CheckAddress(c.Metrics.Listen); err != nil {
			return fmt.Errorf("metrics.listen: %w", err)
		}
	}
	for key, path := range map[string]string{"podman.socket": c.Podman.Socket, "podman.auth_file": c.Podman.AuthFile} {
		if path != "" && !filepath.IsAbs(path) {
			return fmt.Errorf("%s: %q must be an absolute path", key, path)
		}
	}
	return c.Broker.check()
}

// checkDevice checks who the device is. An enrolled one leaves that to its
// enrollment, or adds to it.
func (c Config) checkDevice() error {
	if c.Device == "" {
		if c.Broker.User != "" || c.Broker.NKeyFile != "" {
			return errors.New("device: name it, since broker.nkey_file or broker.user is set; or leave all of them out and enroll this device with `fleet-agent enroll`")
		}
		if len(c.SigningKeys) == 0 {
			return nil
		}
	} else if err := c.Device.Validate(); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	if _, err := c.TrustedKeys(); err != nil {
		return err
	}
	if c.Device != "" && len(c.Broker.Servers) == 0 {
		return errors.New(`broker.servers: name at least one URL, such as "nats://broker.example:4222"`)
	}
	return nil
}

func (b Broker) check() error {
	if (b.User == "") != (b.PasswordFile == "") {
		return errors.New("broker.user and broker.password_file: set both or none")
	}
	if b.User != "" && b.NKeyFile != "" {
		return errors.New("broker.nkey_file and broker.user: choose one of them")
	}
	return nil
}

// TrustedKeys returns the fleet's public keys.
func (c Config) TrustedKeys() ([]ed25519.PublicKey, error) {
	if len(c.SigningKeys) == 0 {
		return nil, errors.New("signing_keys: name at least one of the fleet's public keys; without one, no desired state can be trusted")
	}
	keys := make([]ed25519.PublicKey, len(c.SigningKeys))
	for i, text := range c.SigningKeys {
		key, err := contracts.ParsePublicKey(text)
		if err != nil {
			return nil, fmt.Errorf("signing_keys[%d]: %w", i, err)
		}
		keys[i] = key
	}
	return keys, nil
}
