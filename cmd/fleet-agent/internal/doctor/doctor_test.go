package doctor_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/doctor"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/local"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

// host is a device on which all is well, until a test breaks something.
type host struct {
	dir, state, config, seed, desired string
	// servers and broker are TOML.
	servers, broker string
	options         doctor.Options
	// status is what the daemon answers; nil when it does not run.
	status *local.Status
}

func key(seed string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(seed, ed25519.SeedSize)))
}

func newHost(t *testing.T) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{
		dir: dir, state: filepath.Join(dir, "state"), config: filepath.Join(dir, "config.toml"), seed: filepath.Join(dir, "device.nk"),
		servers: fmt.Sprintf("[%q]", natsServer(t, `{"server_id":"x"}`, nil)),
		options: doctor.Options{
			Now:        func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) },
			Space:      func(string) (uint64, uint64, error) { return 5 << 30, 10 << 30, nil },
			Timeout:    2 * time.Second,
			DesiredDir: "agent",
		},
	}
	h.broker = fmt.Sprintf("nkey_file = %q", h.seed)
	h.desired = filepath.Join(h.state, "agent", "desired-state.json")
	require.NoError(t, os.MkdirAll(filepath.Dir(h.desired), 0o700))
	require.NoError(t, os.WriteFile(h.seed, []byte("SU"+strings.Repeat("A", 56)+"\n"), 0o600))
	h.sign(t, key("k"))
	h.status = &local.Status{
		Device: "pi-1", Running: true, Version: "v1.2.3", Link: &local.Link{Connected: true, Server: "nats://broker"},
		Runtimes: []local.Runtime{{Name: "process", SeenAt: time.Now()}},
	}
	return h
}

func (h *host) sign(t *testing.T, signer ed25519.PrivateKey) {
	t.Helper()
	document, err := contracts.Encode(contracts.DesiredState{Device: "pi-1", Generation: 4, HeartbeatInterval: contracts.DefaultHeartbeatInterval})
	require.NoError(t, err)
	store, err := agent.OpenDirStore(filepath.Dir(h.desired), nil)
	require.NoError(t, err)
	require.NoError(t, store.SaveDesired(contracts.Sign(document, signer)))
}

// writeConfig does so unless a test made its own.
func (h *host) writeConfig(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(h.config); err == nil {
		return
	}
	public, _ := key("k").Public().(ed25519.PublicKey)
	text := fmt.Sprintf("device = \"pi-1\"\nstate_dir = %q\nsigning_keys = [%q]\n[broker]\nservers = %s\n%s\n",
		h.state, contracts.FormatPublicKey(public), h.servers, h.broker)
	require.NoError(t, os.WriteFile(h.config, []byte(text), 0o600))
}

// examine answers as the daemon while it looks.
func (h *host) examine(t *testing.T) []doctor.Check {
	t.Helper()
	h.writeConfig(t)
	if h.status != nil {
		claim, err := local.NewClaim(t.Context(), h.state, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- claim.Run(ctx, func() local.Status { return *h.status }) }()
		require.Eventually(t, func() bool {
			_, err := local.Ask(ctx, h.state)
			return err == nil
		}, 10*time.Second, 5*time.Millisecond)
		defer func() {
			cancel()
			require.NoError(t, <-ended)
			claim.Release()
		}()
	}
	return doctor.Examine(t.Context(), h.config, h.options)
}

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	checks := h.examine(t)
	for _, check := range checks {
		require.Equal(t, doctor.OK, check.Level, "%+v", check)
		require.Empty(t, check.Next)
		require.NotEmpty(t, check.Found)
	}
	require.False(t, doctor.Failed(checks))
	require.Len(t, checks, 11)
}

func chmod(path func(*host) string, mode os.FileMode) func(*testing.T, *host) {
	return func(t *testing.T, h *host) {
		t.Helper()
		h.writeConfig(t)
		require.NoError(t, os.Chmod(path(h), mode))
	}
}

func content(path func(*host) string, text string) func(*testing.T, *host) {
	return func(t *testing.T, h *host) {
		t.Helper()
		require.NoError(t, os.WriteFile(path(h), []byte(text), 0o600))
	}
}

func remove(path func(*host) string) func(*testing.T, *host) {
	return func(t *testing.T, h *host) {
		t.Helper()
		require.NoError(t, os.RemoveAll(path(h)))
	}
}

func clock(at string) func(*testing.T, *host) {
	return func(t *testing.T, h *host) {
		t.Helper()
		now, err := time.Parse(time.RFC3339, at)
		require.NoError(t, err)
		h.options.Now = func() time.Time { return now }
		h.options.Built = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	}
}

func free(free, total uint64) func(*testing.T, *host) {
	return func(_ *testing.T, h *host) {
		h.options.Space = func(string) (uint64, uint64, error) { return free << 20, total << 20, nil }
	}
}

func daemon(change func(*local.Status)) func(*testing.T, *host) {
	return func(_ *testing.T, h *host) { change(h.status) }
}

func configPath(h *host) string  { return h.config }
func seedPath(h *host) string    { return h.seed }
func statePath(h *host) string   { return h.state }
func desiredPath(h *host) string { return h.desired }

// Each broken thing has its line, which says what to do next.
func TestBrokenThingsHaveTheirLine(t *testing.T) {
	t.Parallel()
	broken := local.Runtime{Name: "podman", Problem: "no engine answers"}
	for name, c := range map[string]struct {
		breakIt func(*testing.T, *host)
		level   doctor.Level
		check   string
		found   string
	}{
		"clock at the epoch":       {clock("1970-01-01T00:00:09Z"), doctor.Fail, "clock", "before this program was built"},
		"clock before the build":   {clock("2026-05-31T00:00:00Z"), doctor.Fail, "clock", "2026-06-01T00:00:00Z"},
		"clock in the far future":  {clock("2099-01-01T00:00:00Z"), doctor.Warn, "clock", "more than 20 years"},
		"broken configuration":     {content(configPath, "device = 1"), doctor.Fail, "configuration", "line 1"},
		"writable configuration":   {chmod(configPath, 0o666), doctor.Fail, "configuration", "mode 0666"},
		"no credential":            {remove(seedPath), doctor.Fail, "credential", "there is no file"},
		"empty credential":         {content(seedPath, "\n"), doctor.Fail, "credential", "is empty"},
		"no seed":                  {content(seedPath, "SECRET"), doctor.Fail, "credential", "holds no seed"},
		"readable credential":      {chmod(seedPath, 0o644), doctor.Warn, "credential", "mode 0644"},
		"no credential configured": {func(_ *testing.T, h *host) { h.broker, h.servers = "", `["nats://127.0.0.1:1"]` }, doctor.Warn, "credential", "none is configured"},
		"no state directory":       {func(t *testing.T, h *host) { t.Helper(); h.status = nil; remove(statePath)(t, h) }, doctor.Warn, "state directory", "yet"},
		"state directory is a file": {func(t *testing.T, h *host) {
			t.Helper()
			h.status = nil
			remove(statePath)(t, h)
			content(statePath, "")(t, h)
		}, doctor.Fail, "state directory", "not a directory"},
		"open state directory":    {chmod(statePath, 0o755), doctor.Warn, "state directory", "mode 0755"},
		"little space":            {free(499, 1000), doctor.Warn, "disk space", "499 MiB of 1000 MiB"},
		"small share of space":    {free(900, 10000), doctor.Warn, "disk space", "900 MiB"},
		"no space":                {free(49, 1000), doctor.Fail, "disk space", "49 MiB"},
		"no desired state":        {remove(desiredPath), doctor.Warn, "desired state", "none on disk"},
		"desired state cut off":   {content(desiredPath, `{"document":`), doctor.Fail, "desired state", "desired-state.json"},
		"desired state of others": {func(t *testing.T, h *host) { t.Helper(); h.sign(t, key("x")) }, doctor.Fail, "desired state", "not trusted"},
		"daemon does not run":     {func(_ *testing.T, h *host) { h.status = nil }, doctor.Fail, "daemon", "does not run"},
		"link is down":            {daemon(func(s *local.Status) { s.Link = &local.Link{Problem: "Authorization Violation"} }), doctor.Fail, "link", "Authorization Violation"},
		"refused":                 {daemon(func(s *local.Status) { s.Refused = &contracts.Refusal{Reason: contracts.RefusedWrongDevice} }), doctor.Fail, "refused state", "WrongDevice"},
		"no runtime":              {daemon(func(s *local.Status) { s.Runtimes = nil }), doctor.Warn, "runtimes", "nothing can run"},
		"a runtime nobody misses": {daemon(func(s *local.Status) { s.Runtimes = append(s.Runtimes, broken) }), doctor.Warn, "runtime podman", "no engine answers"},
		"the only runtime":        {daemon(func(s *local.Status) { s.Runtimes = []local.Runtime{broken} }), doctor.Fail, "runtime podman", "no engine answers"},
		"a runtime that is missed": {daemon(func(s *local.Status) {
			s.Runtimes = append(s.Runtimes, broken)
			s.Deployments = []local.Deployment{{Name: "web", Reason: contracts.ReasonRuntimeUnavailable}}
		}), doctor.Fail, "runtime podman", "no engine answers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			c.breakIt(t, h)
			requireLine(t, h.examine(t), c.level, c.check, c.found)
		})
	}
}

func requireLine(t *testing.T, checks []doctor.Check, level doctor.Level, name, found string) {
	t.Helper()
	for _, check := range checks {
		require.NotContains(t, check.Found+check.Next, "SECRET")
	}
	for _, check := range checks {
		if check.Name != name {
			continue
		}
		require.Equal(t, level, check.Level, "%+v", check)
		require.Contains(t, check.Found, found)
		require.Equal(t, level != doctor.OK, check.Next != "", "a next step for what is not ok: %+v", check)
		if level == doctor.Fail {
			require.True(t, doctor.Failed(checks))
		}
		return
	}
	require.Fail(t, "no line", "%s in %+v", name, checks)
}

func TestNoConfigurationAtAll(t *testing.T) {
	t.Parallel()
	checks := doctor.Examine(t.Context(), "/does/not/exist.toml", doctor.Options{})
	requireLine(t, checks, doctor.Fail, "configuration", "/does/not/exist.toml")
}

func TestText(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, doctor.WriteText(&out, []doctor.Check{
		{Level: doctor.OK, Name: "clock", Found: "is plausible"},
		{Level: doctor.Fail, Name: "credential", Found: "there is no file x", Next: "copy it there"},
	}))
	require.Equal(t, `ok    clock       is plausible
fail  credential  there is no file x
                  → copy it there
`, out.String())
}
