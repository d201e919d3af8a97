package zitadel_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
	filterapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	"github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/message"
	userapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nationtech/harmony-fleet/domain"
)

// The tests of this file state how Zitadel behaves, as far as a fleet builds on it
// or has to beware of it. The emulator has to behave so as well.

// exchange posts an assertion, and returns the status and the answer.
func exchange(t *testing.T, issuer, assertion string, scopes ...string) (int, map[string]any) {
	t.Helper()
	response, err := web().PostForm(issuer+"/oauth/v2/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}, "scope": {strings.Join(scopes, " ")},
	})
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var answer map[string]any
	_ = json.Unmarshal(body, &answer) // an answer that is no JSON stays empty
	return response.StatusCode, answer
}

func assertion(t *testing.T, algorithm jose.SignatureAlgorithm, key crypto.Signer, keyID string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: keyID}}, nil)
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	signed, err := signer.Sign(payload)
	require.NoError(t, err)
	compact, err := signed.CompactSerialize()
	require.NoError(t, err)
	return compact
}

func assertionClaims(issuer, user string, changes map[string]any) map[string]any {
	now := time.Now()
	claims := map[string]any{"iss": user, "sub": user, "aud": []string{issuer}, "iat": now.Add(-time.Second).Unix(), "exp": now.Add(time.Minute).Unix()}
	maps.Copy(claims, changes)
	return claims
}

func tokenClaims(t *testing.T, answer map[string]any) map[string]any {
	t.Helper()
	token, ok := answer["access_token"].(string)
	require.True(t, ok, "%v", answer)
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var claims map[string]any
	require.NoError(t, json.Unmarshal(payload, &claims))
	return claims
}

func TestFactRolesComeWithBothScopesAndTheAudienceProvesNothing(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		credential, key := f.enroll(t, "pi-1")
		_, err := f.signIn(t, credential, key) // past the lag
		require.NoError(t, err)
		roles := "urn:zitadel:iam:org:project:" + f.setup.ProjectID + ":roles"
		audience, allRoles := "urn:zitadel:iam:org:project:id:"+f.setup.ProjectID+":aud", "urn:zitadel:iam:org:projects:roles"
		get := func(scopes ...string) map[string]any {
			status, answer := exchange(t, f.issuer, assertion(t, jose.ES256, key, credential.KeyID, assertionClaims(f.issuer, credential.UserID, nil)), scopes...)
			require.Equal(t, http.StatusOK, status, "%v", answer)
			return tokenClaims(t, answer)
		}
		require.Contains(t, get("openid", audience, allRoles), roles)
		require.NotContains(t, get("openid", allRoles), roles)
		require.NotContains(t, get("openid", audience), roles)
		invented := get("openid", audience, allRoles, "urn:zitadel:iam:org:project:id:999999999999999999:aud")
		require.Contains(t, invented["aud"], "999999999999999999")
		require.NotContains(t, invented, "urn:zitadel:iam:org:project:999999999999999999:roles")
		require.Equal(t, credential.UserID, invented["sub"])
		require.Equal(t, f.issuer, invented["iss"])
		for _, name := range []string{"exp", "iat", "jti", "client_id"} {
			require.Contains(t, invented, name)
		}
	})
}

func TestFactAssertions(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		credential, key := f.enroll(t, "pi-1")
		_, err := f.signIn(t, credential, key) // past the lag
		require.NoError(t, err)
		post := func(changes map[string]any) (int, map[string]any) {
			return exchange(t, f.issuer, assertion(t, jose.ES256, key, credential.KeyID, assertionClaims(f.issuer, credential.UserID, changes)), "openid")
		}
		now := time.Now()
		for name, changes := range map[string]map[string]any{
			"an hour old":              {"iat": now.Add(-62 * time.Minute).Unix()},
			"from the future":          {"iat": now.Add(10 * time.Second).Unix()},
			"expired":                  {"exp": now.Add(-time.Second).Unix()},
			"for the token endpoint":   {"aud": f.issuer + "/oauth/v2/token"},
			"of somebody for somebody": {"sub": f.prefix.UserID("pi-2")},
		} {
			status, answer := post(changes)
			require.Equal(t, http.StatusBadRequest, status, name)
			require.Equal(t, "invalid_grant", answer["error"], name)
		}
		status, _ := post(map[string]any{"iat": now.Add(-50 * time.Minute).Unix(), "nbf": now.Add(time.Hour).Unix()})
		require.Equal(t, http.StatusOK, status, "nbf is not looked at")
		replayed := assertion(t, jose.ES256, key, credential.KeyID, assertionClaims(f.issuer, credential.UserID, map[string]any{"jti": "1"}))
		for range 2 {
			status, _ = exchange(t, f.issuer, replayed, "openid")
			require.Equal(t, http.StatusOK, status, "an assertion can be used again")
		}
		require.NoError(t, f.provider.Revoke(t.Context(), "pi-1"))
		status, answer := post(nil)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, "invalid_request", answer["error"], "a user that is not active")
	})
}

func TestFactKeysThatAreTakenAndKeysThatWork(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		credential, key := f.enroll(t, "pi-1")
		self := f.as(t, credential, key)
		rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		require.NoError(t, err)
		_, ed, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		for _, c := range []struct {
			algorithm jose.SignatureAlgorithm
			key       crypto.Signer
			works     bool
		}{
			{jose.RS256, rsaKey, true},
			{jose.PS256, rsaKey, true},
			{jose.RS512, rsaKey, false},
			{jose.ES256, key, true},
			{jose.ES384, p384, false},
			{jose.EdDSA, ed, false},
		} {
			der, err := x509.MarshalPKIXPublicKey(c.key.Public())
			require.NoError(t, err)
			added, err := self.UserServiceV2().AddKey(t.Context(), &userapi.AddKeyRequest{
				UserId: credential.UserID, PublicKey: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), ExpirationDate: timestamppb.New(time.Now().Add(time.Hour)),
			})
			require.NoError(t, err, "all are taken")
			signed := assertion(t, c.algorithm, c.key, added.GetKeyId(), assertionClaims(f.issuer, credential.UserID, nil))
			if c.works {
				require.Eventually(t, func() bool {
					status, _ := exchange(t, f.issuer, signed, "openid")
					return status == http.StatusOK
				}, 10*time.Second, 50*time.Millisecond, "%s", c.algorithm)
				continue
			}
			// Long enough for the lag after which a key works. Asked here and not by
			// require.Never, whose last question may outlive the test and its server.
			for until := time.Now().Add(300 * time.Millisecond); time.Now().Before(until); {
				status, _ := exchange(t, f.issuer, signed, "openid")
				require.NotEqual(t, http.StatusOK, status, "%s", c.algorithm)
			}
		}
	})
}

func TestFactErrorsOfTheAPI(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		credential, key := f.enroll(t, "pi-1")
		users := f.api(t, f.admin.AccessToken).UserServiceV2()
		ctx := t.Context()
		later := timestamppb.New(time.Now().Add(time.Hour))
		_, public := newKey(t)
		pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: []byte("x")})
		addKey := func(user string, key []byte, expires *timestamppb.Timestamp) error {
			_, err := users.AddKey(ctx, &userapi.AddKeyRequest{UserId: user, PublicKey: key, ExpirationDate: expires})
			return err
		}
		require.Equal(t, "COMMAND-5F3h1", idOf(t, addKey(credential.UserID, pkcs1, later)))
		require.Equal(t, "DOMAIN-dv3t5", idOf(t, addKey(credential.UserID, []byte(public), timestamppb.New(time.Now().Add(-time.Hour)))))
		require.Equal(t, "COMMAND-bnipwm1", idOf(t, addKey("nobody-"+rand8(), []byte(public), later)))
		_, err := users.RemoveKey(ctx, &userapi.RemoveKeyRequest{UserId: credential.UserID, KeyId: "1"})
		require.Equal(t, "COMMAND-4m77G", idOf(t, err))
		_, err = users.GetUserByID(ctx, &userapi.GetUserByIDRequest{UserId: "nobody-" + rand8()})
		require.Equal(t, "QUERY-Dfbg2", idOf(t, err))

		create := func(id, name string) error {
			_, err := users.CreateUser(ctx, &userapi.CreateUserRequest{
				OrganizationId: f.setup.OrganizationID, UserId: &id, Username: &name,
				UserType: &userapi.CreateUserRequest_Machine_{Machine: &userapi.CreateUserRequest_Machine{Name: "x"}},
			})
			return err
		}
		require.Equal(t, "COMMAND-k2una", idOf(t, create(credential.UserID, "other-"+rand8())))
		require.Equal(t, "V3-DKcYh", idOf(t, create("other-"+rand8(), credential.UserID)))

		deactivate := func() error {
			_, err := users.DeactivateUser(ctx, &userapi.DeactivateUserRequest{UserId: credential.UserID})
			return err
		}
		reactivate := func() error {
			_, err := users.ReactivateUser(ctx, &userapi.ReactivateUserRequest{UserId: credential.UserID})
			return err
		}
		self := f.as(t, credential, key).UserServiceV2()
		_, err = self.GetUserByID(ctx, &userapi.GetUserByIDRequest{UserId: f.setup.OperatorID})
		require.Equal(t, "AUTHZ-cdgFk", idOf(t, err), "missing rights look like a user that is not there")
		_, err = self.SetUserMetadata(ctx, &userapi.SetUserMetadataRequest{UserId: credential.UserID, Metadata: []*userapi.Metadata{{Key: "fleet-project", Value: []byte("x")}}})
		require.Error(t, err, "not even of itself")
		require.NoError(t, deactivate())
		require.Equal(t, "COMMAND-5gunjw0cd7", idOf(t, deactivate()))
		_, err = self.ReactivateUser(ctx, &userapi.ReactivateUserRequest{UserId: credential.UserID})
		require.Error(t, err)
		require.NoError(t, reactivate())
		require.Equal(t, "COMMAND-s5qqcz97hf", idOf(t, reactivate()))

		_, err = users.DeleteUser(ctx, &userapi.DeleteUserRequest{UserId: credential.UserID})
		require.NoError(t, err)
		_, err = users.DeleteUser(ctx, &userapi.DeleteUserRequest{UserId: credential.UserID})
		require.Equal(t, "COMMAND-bd4ir1mblj", idOf(t, err))
		_, err = f.signIn(t, credential, key)
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
		f.enroll(t, "pi-1") // its ID can be used again
	})
}

func TestFactExpiredKeysAreListed(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		_, public := newKey(t)
		expires := time.Now().Add(2 * time.Second)
		credential, err := f.provider.Enroll(t.Context(), "pi-1", public, expires)
		require.NoError(t, err)
		users := f.api(t, f.admin.AccessToken).UserServiceV2()
		require.Eventually(t, func() bool { return time.Now().After(expires) }, 10*time.Second, 50*time.Millisecond)
		listed, err := users.ListKeys(t.Context(), &userapi.ListKeysRequest{
			Filters: []*userapi.KeysSearchFilter{{Filter: &userapi.KeysSearchFilter_UserIdFilter{UserIdFilter: &filterapi.IDFilter{Id: credential.UserID}}}},
		})
		require.NoError(t, err)
		require.Len(t, listed.GetResult(), 1)
	})
}

func TestFactTheServerIsNotFoundByAnotherName(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		s := open(t)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.issuer+"/oauth/v2/keys", nil)
		require.NoError(t, err)
		request.Host = "another.example.com"
		response, err := web().Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusNotFound, response.StatusCode)
	})
}

// idOf returns the ID of an error's detail.
func idOf(t *testing.T, err error) string {
	t.Helper()
	failed, ok := status.FromError(err)
	require.True(t, ok)
	for _, detail := range failed.Details() {
		if detail, ok := detail.(*message.ErrorDetail); ok {
			return detail.GetId()
		}
	}
	return ""
}
