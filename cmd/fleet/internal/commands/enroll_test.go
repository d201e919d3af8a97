package commands_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

type ticketJSON struct {
	Device, State, Token string
	ExpiresAt            time.Time
}

func (x *terminal) intent(device contracts.DeviceID) domain.EnrollmentIntent {
	x.t.Helper()
	intent, err := x.fleet.Enrollments().Get(x.t.Context(), device)
	require.NoError(x.t, err)
	return intent
}

// shows brings a device's intent to where the device has asked.
func (x *terminal) shows(device contracts.DeviceID, state contracts.EnrollmentState, reason string) {
	x.t.Helper()
	_, err := domain.UpdateEnrollment(x.t.Context(), x.fleet.Enrollments(), device, func(i *domain.EnrollmentIntent) error {
		i.State, i.Reason, i.PublicKey = state, reason, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
		return nil
	})
	require.NoError(x.t, err)
}

func TestEnrollCreate(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.env["USER"] = "ana"
	out := x.ok("enroll", "create", "pi-1", "-l", "site=paris,ring=1", "-l", "rack=7")
	require.Contains(t, out, "device/pi-1 invited until")
	require.Contains(t, out, "fleet-agent enroll --server nats://memory:4222 --token fleet-enroll-v1.")
	intent := x.intent("pi-1")
	require.Equal(t, contracts.EnrollmentApproved, intent.State)
	require.Equal(t, contracts.Labels{"site": "paris", "ring": "1", "rack": "7"}, intent.Labels)
	require.WithinDuration(t, time.Now().Add(24*time.Hour), intent.ExpiresAt, time.Minute)
	require.Contains(t, x.ok("get", "events", "-o", "wide"), "Invited")
	require.Contains(t, x.ok("get", "events", "-o", "wide"), "cli:ana")

	r := x.run("enroll", "create", "pi-1")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "--replace")
	var ticket ticketJSON
	require.NoError(t, json.Unmarshal([]byte(x.ok("enroll", "create", "pi-1", "--replace", "--manual", "--ttl", "2h", "-o", "json")), &ticket))
	require.Equal(t, "Pending", ticket.State)
	require.Equal(t, contracts.HashEnrollmentToken(ticket.Token), x.intent("pi-1").TokenHash)
	require.NotContains(t, x.ok("enroll", "list", "-o", "json"), ticket.Token)
}

func TestEnrollCreateTokenFile(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	path := filepath.Join(t.TempDir(), "token")
	out := x.ok("enroll", "create", "pi-1", "--token-file", path)
	require.Contains(t, out, "--token-file "+path)
	require.NotContains(t, out, "fleet-enroll-v1.")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	token, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, contracts.HashEnrollmentToken(strings.TrimSpace(string(token))), x.intent("pi-1").TokenHash)
	r := x.run("enroll", "create", "pi-2", "--token-file", path)
	require.Equal(t, 1, r.code, "a file that is there is not written into")
	require.Contains(t, r.stderr, "--replace")
}

func TestEnrollMistakes(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	for _, args := range []string{
		"create", "create a b", "create No_Name", "create a -l x", "create a -l x=1 -l x=2", "create a -l device.fleet.nationtech.io/x=1",
		"create a --ttl 1s", "create a --ttl 900h", "create a --approve --manual", "create a -o name", "create a --from-csv f --results r",
		"create --from-csv f", "create --results r", "create --from-csv f --results r -o json",
		"list --state Odd", "list -o odd", "approve", "approve --all a", "deny", "deny a", "deny a --reason " + strings.Repeat("x", 1025),
	} {
		r := x.run(append([]string{"enroll"}, strings.Fields(args)...)...)
		require.Equal(t, 2, r.code, "%s: %s", args, r.stderr)
	}
}

func TestEnrollDecisions(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	for i := range 4 {
		x.ok("enroll", "create", fmt.Sprintf("pi-%d", i), "--manual")
	}
	x.shows("pi-1", contracts.EnrollmentReview, "a person has to approve it")
	x.shows("pi-2", contracts.EnrollmentReview, "a person has to approve it")
	x.shows("pi-3", contracts.EnrollmentDone, "")
	table := x.ok("enroll", "list")
	require.Regexp(t, `pi-0 +Pending +[0-9]+s +in 2[34]h +- +-`, table)
	require.Regexp(t, `pi-1 +Review +[0-9]+s +in 2[34]h +SHA256:\S+ +a person has to approve it`, table)
	require.Regexp(t, `pi-3 +Done +[0-9]+s +- `, table)
	require.Equal(t, "device/pi-1\ndevice/pi-2\n", x.ok("enroll", "list", "--state", "Review", "-o", "name"))
	require.Contains(t, x.ok("enroll", "list", "-o", "wide"), "KEY-EXPIRES")

	require.Equal(t, "device/pi-1 denied\n", x.ok("enroll", "deny", "pi-1", "--reason", "not ours"))
	require.Equal(t, "not ours", x.intent("pi-1").Reason)
	require.Equal(t, "device/pi-2 approved\n", x.ok("enroll", "approve", "--all"))
	require.Equal(t, contracts.EnrollmentApproved, x.intent("pi-2").State)
	require.Equal(t, "device/pi-1 approved\n", x.ok("enroll", "approve", "pi-1"))
	r := x.run("enroll", "approve", "pi-3", "pi-9", "pi-0")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "has its credential already")
	require.Contains(t, r.stderr, "fleet enroll create pi-9")
	require.Equal(t, "device/pi-0 approved\n", r.stdout, "the others are not forgotten")
	r = x.run("enroll", "approve", "--all")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "no device waits")
	events := x.ok("get", "events")
	require.Contains(t, events, "EnrollmentDenied")
	require.Contains(t, events, "EnrollmentApproved")
}

func TestEnrollMany(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	dir := t.TempDir()
	list, results := filepath.Join(dir, "devices.csv"), filepath.Join(dir, "tokens.csv")
	var text strings.Builder
	text.WriteString("device,site\n")
	const devices = 120
	for i := range devices {
		fmt.Fprintf(&text, "pi-%03d,paris\n", i)
	}
	require.NoError(t, os.WriteFile(list, []byte(text.String()), 0o600))
	create := []string{"enroll", "create", "--from-csv", list, "--results", results, "-l", "ring=1"}

	// The holder of the signing key goes away in the middle.
	issuer := x.tokens
	x.tokens = &fickle{EnrollmentTokenIssuer: issuer, left: 70}
	r := x.run(create...)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "goes on where this one ended")
	before, err := x.fleet.Enrollments().List(t.Context())
	require.NoError(t, err)
	require.Len(t, before, 70)

	x.tokens = issuer
	require.Contains(t, x.ok(create...), "120 devices of 120 invited")
	require.Contains(t, x.ok(create...), "120 devices of 120 invited", "again changes nothing")
	intents, err := x.fleet.Enrollments().List(t.Context())
	require.NoError(t, err)
	require.Len(t, intents, devices)
	for _, old := range before {
		now := x.intent(old.Device)
		require.Equal(t, old, now, "what was invited is left alone")
	}
	data, err := os.ReadFile(results)
	require.NoError(t, err)
	require.Equal(t, devices+1, strings.Count(string(data), "\n"))
	for _, intent := range intents {
		require.Equal(t, contracts.Labels{"site": "paris", "ring": "1"}, intent.Labels)
	}

	// Another file of results knows none of these tokens.
	r = x.run("enroll", "create", "--from-csv", list, "--results", filepath.Join(dir, "others.csv"))
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "--replace")
	x.stdin = text.String()
	require.Contains(t, x.ok("enroll", "create", "--from-csv", "-", "--results", filepath.Join(dir, "others.csv"), "--replace"), "120 devices of 120")
}

// fickle makes some tokens and then no more.
type fickle struct {
	domain.EnrollmentTokenIssuer
	mu   sync.Mutex
	left int
}

func (f *fickle) IssueToken(ctx context.Context, device contracts.DeviceID, expires time.Time) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 {
		return "", domain.Errorf(domain.ErrUnavailable, "nobody signs enrollment tokens")
	}
	f.left--
	return f.EnrollmentTokenIssuer.IssueToken(ctx, device, expires)
}
