package nats_test

import (
	"context"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func principal(subject string, device contracts.DeviceID, roles ...domain.Role) domain.Principal {
	return domain.Principal{Subject: subject, Device: device, Roles: roles}
}

func TestCalloutAdmits(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true})
	device := server.Device(t, "pi-1")
	require.NoError(t, nats.NewObservedStateReporter(device, "pi-1").Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}))

	operatorToken := server.Callout.Identity.Issue(principal("ana", "", domain.RoleOperator), time.Hour)
	operator, err := nats.Connect(t.Context(), nats.Config{
		Servers: []string{server.URL()}, Credential: nats.TokenCredential(fixedToken(operatorToken)), FailFast: true,
	})
	require.NoError(t, err)
	defer operator.Close()
	record, err := nats.NewDeviceRegistry(operator).Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, contracts.DeviceID("pi-1"), record.ID)

	stats := server.Callout.Stats()
	require.EqualValues(t, 1, stats.Admitted[domain.RoleDevice])
	require.EqualValues(t, 1, stats.Admitted[domain.RoleOperator])
	require.EqualValues(t, 2, stats.Latency.Count)
}

// fixedToken is a source of one token.
type fixedToken domain.Token

func (f fixedToken) Token(context.Context) (domain.Token, error) { return domain.Token(f), nil }

func TestCalloutDenies(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true})
	identity := server.Callout.Identity
	operator := server.Operator(t)
	registry := nats.NewDeviceRegistry(operator)
	_, err := registry.Create(t.Context(), domain.FleetDevice{ID: "revoked", Revoked: true})
	require.NoError(t, err)
	_, err = registry.Create(t.Context(), domain.FleetDevice{ID: "pi-1"})
	require.NoError(t, err)
	issue := func(p domain.Principal) string { return identity.Issue(p, time.Hour).Value }
	tests := []struct {
		name   string
		token  string
		reason nats.DenialReason
		device contracts.DeviceID
	}{
		{"no token", "", nats.DeniedNoToken, ""},
		{"forged", "SECRET-FORGED", nats.DeniedBadToken, ""},
		{"expired", identity.Issue(principal("x", "pi-1", domain.RoleDevice), -time.Second).Value, nats.DeniedBadToken, ""},
		{"no role", issue(principal("guest", "")), nats.DeniedNoRole, ""},
		{"a device without its role", issue(principal("d", "pi-1")), nats.DeniedNoRole, "pi-1"},
		{"a device as operator", issue(principal("o", "pi-1", domain.RoleOperator)), nats.DeniedNoRole, "pi-1"},
		{"a person as device", issue(principal("p", "", domain.RoleDevice)), nats.DeniedNoRole, ""},
		{"unknown device", issue(principal("u", "ghost", domain.RoleDevice)), nats.DeniedUnknownDevice, "ghost"},
		{"revoked device", issue(principal("r", "revoked", domain.RoleDevice)), nats.DeniedRevoked, "revoked"},
	}
	want := map[nats.DenialReason]int{}
	for _, test := range tests {
		want[test.reason]++
		for range 3 {
			_, err := server.Callout.RawToken(t, test.token)
			require.ErrorIs(t, err, natsgo.ErrAuthorization, test.name)
		}
	}
	stats := server.Callout.Stats()
	for reason, count := range want {
		require.EqualValues(t, 3*count, stats.Denied[reason], reason)
	}

	// Each is told once, with its reason and without the token.
	log := nats.NewEventLog(operator)
	var events []contracts.Event
	require.Eventually(t, func() bool {
		events = events[:0]
		err := log.Read(t.Context(), domain.EventQuery{Kind: contracts.EventAccessDenied}, func(e contracts.Event) error {
			events = append(events, e)
			return nil
		})
		return err == nil && len(events) >= len(tests)-1
	}, patience, 20*time.Millisecond)
	require.Len(t, events, len(tests)-1, "both bad tokens are one stranger's")
	for _, event := range events {
		require.NotContains(t, event.Message, "SECRET")
		require.NotEmpty(t, event.Message)
		require.Positive(t, want[nats.DenialReason(event.Reason)], event.Reason)
	}
	for _, test := range tests {
		found := false
		for _, event := range events {
			found = found || event.Reason == string(test.reason) && event.Device == test.device
		}
		require.True(t, found, test.name)
	}
}

func TestCalloutEnrollOnly(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true})
	token := server.Callout.Identity.Issue(principal("enroll-1", "new-1", domain.RoleEnroll), time.Hour).Value
	other := server.Callout.Identity.Issue(principal("enroll-2", "new-2", domain.RoleEnroll), time.Hour).Value
	inbox := contracts.EnrollmentInboxPrefix(token)
	a := attacker{refusals: make(chan error, 100)}
	var err error
	a.Conn, err = server.Callout.RawToken(t, token, natsgo.CustomInboxPrefix(inbox),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { a.refusals <- err }))
	require.NoError(t, err)

	service, err := server.Raw(t).Subscribe(contracts.EnrollSubject, func(msg *natsgo.Msg) { _ = msg.Respond([]byte("credential")) })
	require.NoError(t, err)
	defer func() { _ = service.Unsubscribe() }()
	require.Eventually(t, func() bool {
		answer, err := a.Request(contracts.EnrollSubject, []byte("key"), patience)
		return err == nil && string(answer.Data) == "credential"
	}, patience, 10*time.Millisecond)
	a.requireAllowed(t)

	for _, subject := range []string{
		contracts.SyncSubject("new-1"), contracts.HeartbeatSubject("new-1"), contracts.ReportSubject("new-1", contracts.ReportState),
		contracts.DesiredSubject("new-1"), "$JS.API.INFO", "$SYS.REQ.USER.INFO.x", inbox + ".x",
	} {
		require.NoError(t, a.Publish(subject, nil))
		a.requireRefused(t)
	}
	for _, subject := range []string{
		contracts.EnrollSubject, contracts.DesiredSubject("new-1"), contracts.EnrollmentInboxPrefix(other) + ".>",
		contracts.InboxPrefix("new-1") + ".>", "_INBOX.>", ">",
	} {
		_, err := a.SubscribeSync(subject)
		require.NoError(t, err)
		a.requireRefused(t)
	}
}

// A token with many claims reaches the callout.
func TestCalloutLongToken(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true})
	_, err := server.Callout.RawToken(t, strings.Repeat("x", 12<<10))
	require.ErrorIs(t, err, natsgo.ErrAuthorization)
	require.EqualValues(t, 1, server.Callout.Stats().Denied[nats.DeniedBadToken])
}

func TestCalloutWithoutEncryption(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true, PlainCallout: true})
	server.Device(t, "pi-1")
}

// Several instances run side by side, and one may end.
func TestCalloutInstances(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true})
	second, stop := server.Callout.Run(t, server.Callout.Identity, nats.CalloutOptions{})
	for range 40 {
		conn, err := server.Callout.RawToken(t, server.Callout.Identity.Issue(principal("e", "", domain.RoleEnroll), time.Hour).Value)
		require.NoError(t, err)
		conn.Close()
	}
	first := server.Callout.Stats().Admitted[domain.RoleEnroll]
	require.EqualValues(t, 40, first+second.Stats().Admitted[domain.RoleEnroll])
	stop()
	_, err := server.Callout.RawToken(t, server.Callout.Identity.Issue(principal("e", "", domain.RoleEnroll), time.Hour).Value)
	require.NoError(t, err)
}
