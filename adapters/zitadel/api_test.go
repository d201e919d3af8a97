package zitadel_test

import (
	"crypto/ecdsa"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zitadel/zitadel-go/v3/pkg/client"
	sdk "github.com/zitadel/zitadel-go/v3/pkg/zitadel"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/device"
	"github.com/nationtech/harmony-fleet/domain"
)

// api calls Zitadel's API with a token, as anybody can.
func (s server) api(t *testing.T, token string) *client.Client {
	t.Helper()
	parsed, err := url.Parse(s.issuer)
	require.NoError(t, err)
	option := sdk.WithInsecure(parsed.Port())
	api, err := client.New(t.Context(), sdk.New(parsed.Hostname(), option), client.WithAuth(client.PAT(token)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, api.Close()) })
	return api
}

// as calls Zitadel's API as a device.
func (f *fleet) as(t *testing.T, credential domain.DeviceCredential, key *ecdsa.PrivateKey) *client.Client {
	t.Helper()
	source, err := device.NewTokenSource(device.Config{
		Issuer: f.issuer, ProjectID: f.setup.ProjectID, UserID: credential.UserID, KeyID: credential.KeyID, Signer: key,
	}, device.Options{Client: web(), Scopes: []string{client.ScopeZitadelAPI()}})
	require.NoError(t, err)
	token, err := source.Token(t.Context())
	require.NoError(t, err)
	return f.api(t, token.Value)
}
