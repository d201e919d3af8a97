package agent

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// inviter is that of a fleet in memory.
func inviter(t *testing.T) (Inviter, *memory.Fleet) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	fleet := memory.New()
	return Inviter{Issuer: enrollment.NewIssuer(key), Intents: fleet.Enrollments(), Events: fleet.Events(), Actor: "cli:me"}, fleet
}

func TestInviter(t *testing.T) {
	i, fleet := inviter(t)
	wanted := enrollment.Invitation{Device: "pi-1", Labels: contracts.Labels{"site": "paris"}, Lifetime: time.Hour}
	first, err := i.Token(t.Context(), "", wanted)
	require.NoError(t, err)
	require.NoError(t, checkToken(first, "pi-1"))
	intent, err := fleet.Enrollments().Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, contracts.EnrollmentApproved, intent.State)
	require.Equal(t, wanted.Labels, intent.Labels)
	var events []contracts.Event
	require.NoError(t, fleet.Events().Read(t.Context(), domain.EventQuery{}, func(event contracts.Event) error {
		events = append(events, event)
		return nil
	}))
	require.Len(t, events, 1)
	require.Equal(t, "cli:me", events[0].Actor)

	again, err := i.Token(t.Context(), first, wanted)
	require.NoError(t, err)
	require.Equal(t, first, again, "the held token is still the expected one")
	second, err := i.Token(t.Context(), "", wanted)
	require.NoError(t, err)
	require.NotEqual(t, first, second, "the first was lost on its way")
	third, err := i.Token(t.Context(), first, wanted)
	require.NoError(t, err)
	require.NotEqual(t, first, third, "the held one was replaced")

	_, err = enrollment.Deny(t.Context(), fleet.Enrollments(), "pi-1", "unknown serial")
	require.NoError(t, err)
	again, err = i.Token(t.Context(), third, wanted)
	require.NoError(t, err)
	require.Equal(t, third, again, "the fleet says to the device why")
	_, err = i.Token(t.Context(), "", wanted)
	require.ErrorIs(t, err, domain.ErrPermissionDenied, "a denial is not got round with another token")
	require.ErrorContains(t, err, "unknown serial")
	i.Replace = true
	_, err = i.Token(t.Context(), "", wanted)
	require.NoError(t, err)
}

func TestTokensThatAreOfNoUse(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	good, err := contracts.NewEnrollmentToken("pi-1", time.Now().Add(time.Hour)).Sign(key)
	require.NoError(t, err)
	old, err := contracts.NewEnrollmentToken("pi-1", time.Now().Add(-time.Hour)).Sign(key)
	require.NoError(t, err)
	require.NoError(t, checkToken(good, "pi-1"))
	for name, c := range map[string]struct{ token, device, says string }{
		"cut":               {good[:60], "pi-1", "is not whole"},
		"of another device": {good, "pi-2", `is that of device "pi-1"`},
		"expired":           {old, "pi-1", "expired at"},
	} {
		err := checkToken(c.token, contracts.DeviceID(c.device))
		require.ErrorIs(t, err, domain.ErrInvalid, name)
		require.ErrorContains(t, err, c.says, name)
		require.NotContains(t, err.Error(), strings.TrimPrefix(c.token, "fleet-enroll-v1.")[:20], name)
	}
}
