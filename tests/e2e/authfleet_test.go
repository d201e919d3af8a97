package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/devserver"
	"github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/zitadeltest"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

const (
	devicePrefix = verifier.DevicePrefix("fleet-e2e-")
	stopGrace    = 20 * time.Second
)

// authFleet is a fleet whose devices enroll: a broker with an auth callout, an
// identity provider, and the real programs.
type authFleet struct {
	t        *testing.T
	ctx      context.Context //nolint:containedctx // that of the test
	dir      string
	identity *zitadeltest.Emulator
	config   nats.ServerConfig
	server   string
	broker   *runningBroker
	setup    zitadel.SetupResult
	// authority is the file with the broker's private certificate authority; empty
	// without TLS.
	authority string

	mu       sync.Mutex
	programs []*fleettest.Program
}

// runningBroker is a broker in the process of the test.
type runningBroker struct {
	stop  context.CancelFunc
	ended chan error
}

func startAuthFleet(t *testing.T) *authFleet {
	t.Helper()
	return startAuthFleetWith(t, func(*authFleet) {})
}

// startAuthFleetWith lets prepare change the broker's configuration.
func startAuthFleetWith(t *testing.T, prepare func(*authFleet)) *authFleet {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*timeout)
	t.Cleanup(cancel)
	f := &authFleet{t: t, ctx: ctx, dir: t.TempDir()}
	f.startIdentity()
	prepare(f)
	f.startBroker()
	t.Cleanup(f.end)
	f.startOperator()
	return f
}

func (f *authFleet) path(name string) string { return filepath.Join(f.dir, name) }

func (f *authFleet) startIdentity() {
	f.t.Helper()
	var err error
	f.identity, err = zitadeltest.Start(zitadeltest.Options{Dir: f.t.TempDir()})
	require.NoError(f.t, err)
	f.t.Cleanup(f.identity.Close)
	f.setup, err = zitadel.Setup(f.ctx, zitadel.Admin{AccessToken: f.identity.AdminToken()}, zitadel.SetupConfig{
		Issuer: f.identity.Issuer(), Project: "fleet", DevicePrefix: devicePrefix,
	}, zitadel.SetupOptions{})
	require.NoError(f.t, err)
	key, err := f.setup.Key.Encode()
	require.NoError(f.t, err)
	require.NoError(f.t, os.WriteFile(f.path("service-key.json"), key, 0o600))
}

func (f *authFleet) startBroker() {
	f.t.Helper()
	key := func(name string, kind nats.KeyKind) string {
		public, err := nats.EnsureKey(f.path(name), kind)
		require.NoError(f.t, err)
		return public
	}
	f.config.Name, f.config.Port, f.config.StoreDir = "e2e", -1, f.path("store")
	f.config.Issuer, f.config.Exchange = key("issuer.nk", nats.IssuerKey), key("exchange.nk", nats.ExchangeKey)
	f.config.CalloutUser, f.config.SystemUser = key("callout.nk", nats.UserKey), key("system.nk", nats.UserKey)
	f.config.Operators = []string{key("operator.nk", nats.UserKey)}
	server, err := devserver.NewWithCallout(f.config)
	require.NoError(f.t, err)
	f.server = server.URL()
	running, stop := context.WithCancel(context.WithoutCancel(f.ctx))
	f.broker = &runningBroker{stop: stop, ended: make(chan error, 1)}
	go func() { f.broker.ended <- server.Run(running) }()
}

func (f *authFleet) startOperator() {
	f.t.Helper()
	_, _, err := fleettest.Run(f.ctx, filepath.Join(bin, "fleet-operator"), []string{"keygen", f.path("signing.pem")}, nil)
	require.NoError(f.t, err)
	operator := f.start("operator", "fleet-operator", "run", "--server", f.server, "--nkey-file", f.path("operator.nk"),
		"--signing-key-file", f.path("signing.pem"), "--identity", "one", "--heartbeat-interval", "1s", "--lease-ttl", "3s", "--health-address", "", "--ca-file", f.authority)
	f.until("the operator to work", func() (bool, string) {
		return strings.Contains(operator.Output(), "desired state is up to date"), operator.Output()
	})
}

// startCallout starts one of the callouts.
func (f *authFleet) startCallout(name string, flags ...string) *fleettest.Program {
	f.t.Helper()
	public, _, err := fleettest.Run(f.ctx, filepath.Join(bin, "fleet-operator"), []string{"pubkey", f.path("signing.pem")}, nil)
	require.NoError(f.t, err)
	cache := f.path("cache-" + name)
	require.NoError(f.t, os.MkdirAll(cache, 0o700))
	callout := f.start("callout "+name, "fleet-operator", append([]string{
		"callout", "--server", f.server, "--identity", name, "--health-address", "",
		"--nkey-file", f.path("operator.nk"), "--callout-nkey-file", f.path("callout.nk"), "--system-nkey-file", f.path("system.nk"),
		"--issuer-seed-file", f.path("issuer.nk"), "--exchange-seed-file", f.path("exchange.nk"),
		"--identity-issuer", f.identity.Issuer(), "--organization", f.setup.OrganizationID, "--project", f.setup.ProjectID,
		"--device-prefix", string(devicePrefix), "--service-key-file", f.path("service-key.json"), "--cache-dir", cache,
		"--signing-key", strings.TrimSpace(public), "--ca-file", f.authority, "--device-ca-file", f.authority,
	}, flags...)...)
	f.until("callout "+name+" to admit clients", func() (bool, string) {
		return strings.Contains(callout.Output(), "admitting clients"), callout.Output()
	})
	return callout
}

// start starts a program that ends with the test.
func (f *authFleet) start(name, program string, args ...string) *fleettest.Program {
	f.t.Helper()
	started, err := fleettest.Start(name, filepath.Join(bin, program), args, nil, nil)
	require.NoError(f.t, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.programs = append(f.programs, started)
	return started
}

func (f *authFleet) until(what string, condition func() (bool, string)) {
	f.t.Helper()
	require.NoError(f.t, fleettest.Until(f.ctx, what, condition))
}

func (f *authFleet) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, program := range f.programs {
		if f.t.Failed() {
			f.t.Logf("%s:\n%s", program.Name, program.Output())
		}
		select {
		case <-program.Done():
		default:
			if err := program.Stop(syscall.SIGTERM, stopGrace); err != nil {
				f.t.Errorf("stop %s: %v", program.Name, err)
			}
		}
	}
	f.broker.stop()
	require.NoError(f.t, <-f.broker.ended)
}

// fleet runs the CLI with the operator's rights.
func (f *authFleet) fleet(args ...string) (string, error) {
	f.t.Helper()
	out, said, err := fleettest.Run(f.ctx, filepath.Join(bin, "fleet"), args, []string{
		"FLEET_NATS_URL=" + f.server, "FLEET_NKEY=" + f.path("operator.nk"), "XDG_CONFIG_HOME=" + f.path("config"), "FLEET_TLS_CA=" + f.authority,
	})
	if err != nil {
		return out, fmt.Errorf("fleet %s: %w: %s", strings.Join(args, " "), err, said)
	}
	return out, nil
}

func (f *authFleet) mustFleet(args ...string) string {
	f.t.Helper()
	out, err := f.fleet(args...)
	require.NoError(f.t, err)
	return out
}

// enrolling is a device that has nothing but a configuration.
type enrolling struct {
	fleet *authFleet
	id    string
	dir   string
	agent *fleettest.Program
}

func (f *authFleet) device(id string) *enrolling {
	f.t.Helper()
	d := &enrolling{fleet: f, id: id, dir: f.path("devices/" + id)}
	require.NoError(f.t, os.MkdirAll(d.dir, 0o700))
	text := fmt.Sprintf("state_dir = %q\n[podman]\ndisabled = true\n", filepath.Join(d.dir, "state"))
	require.NoError(f.t, os.WriteFile(d.config(), []byte(text), 0o600))
	f.t.Cleanup(func() {
		if _, said, err := fleettest.Run(context.WithoutCancel(f.ctx), filepath.Join(bin, "fleet-agent"), []string{"purge", "--config", d.config()}, nil); err != nil && d.agent != nil {
			f.t.Errorf("purge %s: %v: %s", id, err, said)
		}
	})
	return d
}

func (d *enrolling) config() string { return filepath.Join(d.dir, "config.toml") }

// invite makes a token and returns the file that it is in.
func (d *enrolling) invite(name string, flags ...string) string {
	d.fleet.t.Helper()
	file := filepath.Join(d.dir, name)
	d.fleet.mustFleet(append([]string{"enroll", "create", d.id, "--token-file", file}, flags...)...)
	return file
}

// enroll runs `fleet-agent enroll` to its end.
func (d *enrolling) enroll(tokenFile string, flags ...string) (string, error) {
	out, said, err := fleettest.Run(d.fleet.ctx, filepath.Join(bin, "fleet-agent"), append([]string{
		"enroll", "--config", d.config(), "--server", d.fleet.server, "--token-file", tokenFile, "--ca-file", d.fleet.authority,
	}, flags...), nil)
	return out + said, err
}

func (d *enrolling) startAgent() {
	d.fleet.t.Helper()
	d.agent = d.fleet.start("agent "+d.id, "fleet-agent", "--config", d.config())
}

func (d *enrolling) stopAgent() {
	d.fleet.t.Helper()
	require.NoError(d.fleet.t, d.agent.Stop(syscall.SIGTERM, stopGrace))
}

// status is what `fleet-agent status` prints.
func (d *enrolling) status() string {
	out, said, _ := fleettest.Run(d.fleet.ctx, filepath.Join(bin, "fleet-agent"), []string{"status", "--config", d.config()}, nil)
	return out + said
}

// keyID names the key that the running agent uses.
func (d *enrolling) keyID() string {
	out, _, _ := fleettest.Run(d.fleet.ctx, filepath.Join(bin, "fleet-agent"), []string{"status", "--config", d.config(), "-o", "json"}, nil)
	var status struct {
		Identity struct {
			KeyID string `json:"keyID"`
		} `json:"identity"`
	}
	_ = json.Unmarshal([]byte(out), &status) // the caller waits for what it wants
	return status.Identity.KeyID
}

func (d *enrolling) awaitLink(up bool) {
	d.fleet.t.Helper()
	d.fleet.until(fmt.Sprintf("the link of device %s to be up: %t", d.id, up), func() (bool, string) {
		status := d.status()
		return linkIs(status, up), status + "\n" + d.agent.Output()
	})
}

// linkIs reports whether `fleet-agent status` says that the agent is connected,
// or that it is not.
func linkIs(status string, up bool) bool {
	want := []string{"not connected"}
	if up {
		want = []string{"connected to nats://", "connected to tls://"}
	}
	for line := range strings.Lines(status) {
		text, ok := strings.CutPrefix(line, "Link")
		if ok && slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(strings.TrimSpace(text), w) }) {
			return true
		}
	}
	return false
}

func containsAll(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
