package verifier

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"use":"sig","kty":"EC","kid":"1","crv":"P-256","alg":"ES256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := decodeKeys(data)
		if err != nil {
			return
		}
		require.NotEmpty(t, keys)
		for id, key := range keys {
			require.NotEmpty(t, id)
			require.True(t, key.IsPublic() && key.Valid())
		}
	})
}

func FuzzClaims(f *testing.F) {
	v, err := New(Config{Issuer: "https://id.example.com", ProjectID: "1", DevicePrefix: "fleet-"}, Options{})
	require.NoError(f, err)
	f.Add([]byte(`{"iss":"https://id.example.com","sub":"fleet-pi-1","jti":"1","exp":2000000000,"urn:zitadel:iam:org:project:1:roles":{"device":{"2":"x"}}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		principal, err := v.principal(payload, time.Unix(1_900_000_000, 0))
		if err != nil {
			require.ErrorIs(t, err, domain.ErrUnauthenticated)
			require.Zero(t, principal)
			return
		}
		require.NotEmpty(t, principal.Roles)
		require.NotEmpty(t, principal.Subject)
		if principal.Device != "" {
			require.Equal(t, []domain.Role{domain.RoleDevice}, principal.Roles)
			require.Equal(t, v.prefix.UserID(principal.Device), principal.Subject)
		}
	})
}

// FuzzToken needs no provider: the one key is known.
func FuzzToken(f *testing.F) {
	v, err := New(Config{Issuer: "https://id.example.com", ProjectID: "1", DevicePrefix: "fleet-"}, Options{})
	require.NoError(f, err)
	keys, err := decodeKeys([]byte(`{"keys":[{"kty":"EC","kid":"1","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	require.NoError(f, err)
	v.set.keys.Store(&keys)
	v.set.attempted = time.Now().Add(time.Hour) // invented key IDs are not asked for
	f.Add("eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.e30.AAAA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		principal, err := v.Verify(t.Context(), token)
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
		require.Zero(t, principal)
	})
}

func FuzzPrefix(f *testing.F) {
	f.Add("fleet-", "fleet-pi-1")
	f.Add("fleet-a-", "fleet-a-_operator")
	f.Fuzz(func(t *testing.T, prefix, userID string) {
		p := DevicePrefix(prefix)
		device, ok := p.Device(userID)
		if !ok {
			require.Empty(t, device)
			return
		}
		require.NoError(t, device.Validate())
		require.Equal(t, userID, p.UserID(device))
		if p.Validate() == nil {
			_, ok = p.Device(p.OperatorID())
			require.False(t, ok)
		}
	})
}

func TestPrefixMapsBothWays(t *testing.T) {
	p := DevicePrefix("fleet-")
	device, ok := p.Device(p.UserID("pi-1"))
	require.True(t, ok)
	require.Equal(t, contracts.DeviceID("pi-1"), device)
	for _, other := range []string{"", "fleet-", "pi-1", "xfleet-pi-1", "fleet-Pi", "fleet-a.b", "fleet--a", p.OperatorID()} {
		_, ok := p.Device(other)
		require.False(t, ok, other)
	}
}
