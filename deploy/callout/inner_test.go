package callout

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
)

func TestPortsOfTheNetworkPolicy(t *testing.T) {
	require.Equal(t, []any{4222, 4443}, ports([]string{"tls://a:4443", "tls://b", "tls://c:4222"}, brokerPort))
	score := FleetCalloutScore{Servers: []string{"wss://ws.example"}, Identity: Identity{Issuer: "https://sso.example"}}
	require.Equal(t, map[string]any{"brokerPorts": []any{443, 4222}, "identityPorts": []any{443, 8443}}, score.networkPolicy())
	score.Identity.Issuer = "http://sso.example:9000"
	require.Equal(t, []any{8080, 9000}, score.networkPolicy()["identityPorts"])
}

func TestParseStatus(t *testing.T) {
	denied, err := parseStatus([]byte(`{"callout":{"Admitted":{"device":3},"Denied":{"BadToken":2,"NoToken":5}},"sync":{}}`))
	require.NoError(t, err)
	require.Equal(t, uint64(7), denied)
	_, err = parseStatus([]byte("<html>"))
	require.ErrorIs(t, err, domain.ErrUnavailable)
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte(`{"callout":{"Denied":{"BadToken":2}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if denied, err := parseStatus(data); err != nil && denied != 0 {
			t.Fatal("a number and an error")
		}
	})
}
