package verifier_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/conformance"
)

func TestConformance(t *testing.T) {
	conformance.TokenVerifier(t, func(t *testing.T) conformance.TokenVerifierFixture {
		t.Helper()
		p := newProvider(t)
		return conformance.TokenVerifierFixture{
			Verifier: open(t, p, verifier.Options{}),
			Issue: func(t *testing.T, principal domain.Principal, lifetime time.Duration) string {
				t.Helper()
				granted := map[string]any{}
				for _, role := range principal.Roles {
					granted[string(role)] = map[string]string{"1": "fleet.example.com"}
				}
				return p.token(t, map[string]any{"sub": principal.Subject, "exp": time.Now().Add(lifetime).Unix(), roles: granted})
			},
			Foreign: func(t *testing.T) map[string]string {
				t.Helper()
				return foreign(t, p)
			},
			Subject: prefix.UserID,
			SetReachable: func(t *testing.T, reachable bool) {
				t.Helper()
				p.set(func(p *provider) {
					p.status = http.StatusServiceUnavailable
					if reachable {
						p.status = 0
					}
				})
			},
		}
	})
}

// foreign are tokens that are signed well enough, but prove nothing to this fleet.
func foreign(t *testing.T, p *provider) map[string]string {
	t.Helper()
	other := newProvider(t)
	der, err := x509.MarshalPKIXPublicKey(p.key.Public())
	require.NoError(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	plain := p.token(t, nil)
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"key-1"}`)) + "." + strings.Split(plain, ".")[1] + "."
	device := map[string]any{"device": map[string]string{"1": "x"}}
	return map[string]string{
		"of another issuer":                 p.token(t, map[string]any{"iss": other.server.URL}),
		"without an issuer":                 p.token(t, map[string]any{"iss": nil}),
		"of an issuer with a slash":         p.token(t, map[string]any{"iss": p.server.URL + "/"}),
		"audience without a role":           p.token(t, map[string]any{roles: nil}),
		"roles that are none":               p.token(t, map[string]any{roles: map[string]any{}}),
		"role of no organization":           p.token(t, map[string]any{roles: map[string]any{"device": map[string]any{}}}),
		"role of another name":              p.token(t, map[string]any{roles: map[string]any{"devices": map[string]string{"1": "x"}}}),
		"role in a list":                    p.token(t, map[string]any{roles: []string{"device"}}),
		"role in another project":           p.token(t, map[string]any{roles: nil, "urn:zitadel:iam:org:project:1:roles": device}),
		"role in the general claim":         p.token(t, map[string]any{roles: nil, "urn:zitadel:iam:org:project:roles": device}),
		"role in a claim of other case":     p.token(t, map[string]any{roles: nil, strings.ToUpper(roles): device}),
		"device that is an operator":        p.token(t, map[string]any{roles: map[string]any{"operator": map[string]string{"1": "x"}}}),
		"person that is a device":           p.token(t, map[string]any{"sub": "ada"}),
		"device by its name alone":          p.token(t, map[string]any{"sub": "x", "client_id": "fleet-pi-1"}),
		"device of no valid ID":             p.token(t, map[string]any{"sub": "fleet-Pi.1"}),
		"prefix alone":                      p.token(t, map[string]any{"sub": "fleet-"}),
		"without a subject":                 p.token(t, map[string]any{"sub": nil}),
		"operator without a subject":        p.token(t, map[string]any{"sub": "", roles: map[string]any{"operator": map[string]string{"1": "x"}}}),
		"subject that is a number":          p.token(t, map[string]any{"sub": 5}),
		"ID token":                          p.token(t, map[string]any{"jti": nil}),
		"expires now":                       p.token(t, map[string]any{"exp": time.Now().Unix()}),
		"without an expiry":                 p.token(t, map[string]any{"exp": nil}),
		"expiry that is a text":             p.token(t, map[string]any{"exp": "9999999999"}),
		"not valid yet":                     p.token(t, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}),
		"claims in a list":                  sign(t, jose.RS256, p.key, "key-1", []string{"x"}),
		"key of another issuer":             sign(t, jose.RS256, other.key, "key-9", p.claims(nil)),
		"other algorithm than the key's":    sign(t, jose.RS512, p.key, "key-1", p.claims(nil)),
		"RSA-PSS, which Zitadel never uses": sign(t, jose.PS256, p.key, "key-1", p.claims(nil)),
		"the public key as a secret":        sign(t, jose.HS256, public, "key-1", p.claims(nil)),
		"without a key ID":                  sign(t, jose.RS256, p.key, "", p.claims(nil)),
		"not signed":                        unsigned,
	}
}

func TestWhatADeviceCanChangeIsNotLookedAt(t *testing.T) {
	p := newProvider(t)
	v := open(t, p, verifier.Options{})
	for _, changes := range []map[string]any{
		{"client_id": "fleet-pi-2", "username": "fleet-pi-2", "name": "fleet-pi-2"},
		{"aud": []string{}},
		{"aud": nil},
		{"aud": "anything"},
	} {
		principal, err := v.Verify(t.Context(), p.token(t, changes))
		require.NoError(t, err)
		require.Equal(t, contracts.DeviceID("pi-1"), principal.Device)
	}
	principal, err := v.Verify(t.Context(), p.token(t, map[string]any{roles: map[string]any{
		"device": map[string]string{"1": "x"}, "operator": map[string]string{"1": "x"}, "enroll": map[string]string{"1": "x"},
	}}))
	require.NoError(t, err)
	require.Equal(t, []domain.Role{domain.RoleDevice}, principal.Roles, "a device is nothing else")
}

func TestInventedKeyIDsCostTheProviderLittle(t *testing.T) {
	p := newProvider(t)
	v := open(t, p, verifier.Options{})
	for range 200 {
		_, err := v.Verify(t.Context(), sign(t, jose.RS256, p.key, "invented", p.claims(nil)))
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
	}
	require.LessOrEqual(t, p.count(), 2)
	_, err := v.Verify(t.Context(), p.token(t, nil))
	require.NoError(t, err)
}

// transport answers without a network, so that a test can own the time.
type transport struct{ p *provider }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := newRecorder()
	t.p.ServeHTTP(recorder, r)
	return &http.Response{StatusCode: recorder.status, Status: http.StatusText(recorder.status), Body: io.NopCloser(&recorder.body), Request: r}, nil
}

func TestKeysAreFollowed(t *testing.T) {
	p := newProvider(t)
	synctest.Test(t, func(t *testing.T) {
		v := open(t, p, verifier.Options{Client: &http.Client{Transport: transport{p}}})
		_, err := v.Verify(t.Context(), p.token(t, nil))
		require.NoError(t, err)
		require.Equal(t, 1, p.count())
		// A new key is fetched when a token names it, not more often than every five seconds.
		p.set(func(p *provider) { p.keys["key-2"] = p.key })
		renewed := sign(t, jose.RS256, p.key, "key-2", p.claims(nil))
		_, err = v.Verify(t.Context(), renewed)
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
		<-time.After(5 * time.Second)
		_, err = v.Verify(t.Context(), renewed)
		require.NoError(t, err)
		require.Equal(t, 2, p.count())

		// One that is withdrawn is not believed much longer, as long as Run runs.
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- v.Run(ctx) }()
		synctest.Wait()
		p.set(func(p *provider) { delete(p.keys, "key-1") })
		<-time.After(5*time.Minute + time.Second)
		synctest.Wait()
		old := p.token(t, nil)
		_, err = v.Verify(ctx, old)
		require.ErrorIs(t, err, domain.ErrUnauthenticated)

		// Away for days: the known keys stay in use.
		p.set(func(p *provider) { p.status = http.StatusBadGateway })
		<-time.After(72 * time.Hour)
		synctest.Wait()
		_, err = v.Verify(ctx, sign(t, jose.RS256, p.key, "key-2", p.claims(nil)))
		require.NoError(t, err)
		_, err = v.Verify(ctx, p.token(t, nil))
		require.ErrorIs(t, err, domain.ErrUnavailable, "whether the key is good cannot be asked")
		cancel()
		require.NoError(t, <-ended)
	})
}

func TestKeysOnDiskOutliveTheProvider(t *testing.T) {
	p := newProvider(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	_, err := open(t, p, verifier.Options{CacheFile: file}).Verify(t.Context(), p.token(t, nil))
	require.NoError(t, err)
	p.set(func(p *provider) { p.status = http.StatusBadGateway })
	_, err = open(t, p, verifier.Options{CacheFile: file}).Verify(t.Context(), p.token(t, nil))
	require.NoError(t, err)
	_, err = open(t, p, verifier.Options{}).Verify(t.Context(), p.token(t, nil))
	require.ErrorIs(t, err, domain.ErrUnavailable)
}

func TestKeySetsThatAreNone(t *testing.T) {
	for _, body := range []string{"", "<html>", "{}", `{"keys":[]}`, `{"keys":[{"kty":"oct","kid":"key-1","k":"AAAA"}]}`, `{"keys":[5,null]}`} {
		p := newProvider(t)
		p.body = []byte(body)
		_, err := open(t, p, verifier.Options{}).Verify(t.Context(), p.token(t, nil))
		require.ErrorIs(t, err, domain.ErrUnavailable)
	}
}

func TestConfigThatCannotWork(t *testing.T) {
	good := verifier.Config{Issuer: "https://id.example.com", ProjectID: "1", DevicePrefix: "fleet-"}
	for _, spoil := range []func(*verifier.Config){
		func(c *verifier.Config) { c.Issuer = "id.example.com" },
		func(c *verifier.Config) { c.Issuer += "/" },
		func(c *verifier.Config) { c.ProjectID = "" },
		func(c *verifier.Config) { c.DevicePrefix = "" },
		func(c *verifier.Config) { c.DevicePrefix = "fleet" },
		func(c *verifier.Config) { c.DevicePrefix = "Fleet-" },
	} {
		config := good
		spoil(&config)
		_, err := verifier.New(config, verifier.Options{})
		require.ErrorIs(t, err, domain.ErrInvalid)
	}
}

func BenchmarkVerify(b *testing.B) {
	p := newProvider(b)
	v := open(b, p, verifier.Options{})
	token := p.token(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}
