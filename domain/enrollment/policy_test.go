package enrollment_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/conformance"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

func TestReadList(t *testing.T) {
	t.Parallel()
	list, err := enrollment.ReadList(strings.NewReader("# serials\n\n  100000001\n100000002 pi-2\n"))
	require.NoError(t, err)
	require.Equal(t, enrollment.List{"100000001": "", "100000002": "pi-2"}, list)
	for _, wrong := range []string{"a b c", "a No", "a pi-1\na pi-2", strings.Repeat("x", 5000)} {
		_, err := enrollment.ReadList(strings.NewReader(wrong))
		require.ErrorIs(t, err, domain.ErrInvalid, wrong)
	}
}

func FuzzReadList(f *testing.F) {
	for _, seed := range []string{"", "a", "a pi-1\n#\nb", "a b c", "\x00 \xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := enrollment.ReadList(strings.NewReader(text))
		if err != nil {
			require.ErrorIs(t, err, domain.ErrInvalid)
			return
		}
		for value, device := range list {
			require.NotEmpty(t, value)
			if device != "" {
				require.NoError(t, device.Validate())
			}
		}
	})
}

func TestRules(t *testing.T) {
	t.Parallel()
	intent := domain.EnrollmentIntent{Device: "pi-1", Labels: contracts.Labels{"site": "paris"}}
	inventory := contracts.Inventory{Serial: "s1", MachineID: "m1"}
	paris := contracts.LabelSelector{MatchLabels: map[string]string{"site": "paris"}}
	itself := contracts.LabelSelector{MatchLabels: map[string]string{contracts.DeviceLabel: "pi-1"}}
	for name, c := range map[string]struct {
		rules    enrollment.Rules
		approved bool
	}{
		"none":             {enrollment.Rules{}, false},
		"serial":           {enrollment.Rules{Serials: enrollment.List{"s1": ""}}, true},
		"serial of it":     {enrollment.Rules{Serials: enrollment.List{"s1": "pi-1"}}, true},
		"serial of other":  {enrollment.Rules{Serials: enrollment.List{"s1": "pi-2"}}, false},
		"machine":          {enrollment.Rules{MachineIDs: enrollment.List{"m1": ""}}, true},
		"empty list":       {enrollment.Rules{Serials: enrollment.List{}, MachineIDs: enrollment.List{"": ""}}, false},
		"labels":           {enrollment.Rules{Labels: []contracts.LabelSelector{paris}}, true},
		"the device label": {enrollment.Rules{Labels: []contracts.LabelSelector{itself}}, true},
	} {
		approved, why := c.rules.Decide(intent, inventory)
		require.Equal(t, c.approved, approved, name)
		require.NotEmpty(t, why, name)
	}
	approved, _ := enrollment.Rules{Serials: enrollment.List{"": ""}}.Decide(intent, contracts.Inventory{})
	require.False(t, approved, "a device that says nothing matches nothing")
}

// TestRouter runs the suite of the identity provider's verifier through the
// router, which must not be noticed.
func TestRouter(t *testing.T) {
	t.Parallel()
	conformance.TokenVerifier(t, func(*testing.T) conformance.TokenVerifierFixture {
		identity := memory.NewIdentity()
		return conformance.TokenVerifierFixture{
			Verifier: enrollment.NewRouter(enrollment.NewVerifier(nil), identity),
			Issue: func(_ *testing.T, principal domain.Principal, lifetime time.Duration) string {
				return identity.Issue(principal, lifetime).Value
			},
			Subject:      func(device contracts.DeviceID) string { return "fleet-" + string(device) },
			SetReachable: func(_ *testing.T, reachable bool) { identity.SetReachable(reachable) },
		}
	})
}

func TestRouterKnowsEnrollmentTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	router := enrollment.NewRouter(enrollment.NewVerifier(w.trusted), w.identity)
	principal, err := router.Verify(t.Context(), w.invite(t, enrollment.Invitation{Device: "pi-1"}))
	require.NoError(t, err)
	require.Equal(t, []domain.Role{domain.RoleEnroll}, principal.Roles)
	_, err = router.Verify(t.Context(), newWorld(t, nil).invite(t, enrollment.Invitation{Device: "pi-1"}))
	require.ErrorIs(t, err, domain.ErrUnauthenticated)
	_, err = router.Verify(t.Context(), "fleet-enroll-v1.junk")
	require.ErrorIs(t, err, domain.ErrUnauthenticated)
}
