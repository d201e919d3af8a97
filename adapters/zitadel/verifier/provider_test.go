package verifier_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	project = "4711"
	prefix  = verifier.DevicePrefix("fleet-")
	roles   = "urn:zitadel:iam:org:project:" + project + ":roles"
)

// provider serves public keys, and signs what the test wants.
type provider struct {
	server *httptest.Server
	key    *rsa.PrivateKey

	mu      sync.Mutex
	keys    map[string]*rsa.PrivateKey
	fetches int
	status  int
	body    []byte
}

// sharedKey is made once: RSA keys are slow to make.
var sharedKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newProvider(tb testing.TB) *provider {
	tb.Helper()
	key, err := sharedKey()
	require.NoError(tb, err)
	p := &provider{key: key, keys: map[string]*rsa.PrivateKey{"key-1": key}}
	p.server = httptest.NewServer(p)
	tb.Cleanup(p.server.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetches++
	switch {
	case r.URL.Path != "/oauth/v2/keys":
		http.NotFound(w, r)
	case p.status != 0:
		w.WriteHeader(p.status)
	case p.body != nil:
		_, _ = w.Write(p.body) // the client's loss
	default:
		var set jose.JSONWebKeySet
		for id, key := range p.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Use: "sig", Algorithm: "RS256"})
		}
		_ = json.NewEncoder(w).Encode(set) // the client's loss
	}
}

func (p *provider) set(change func(*provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// claims are those of a device's token, with the given changes: nil removes.
func (p *provider) claims(changes map[string]any) map[string]any {
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": p.server.URL, "sub": "fleet-pi-1", "aud": []string{"x", project}, "client_id": "pi-1-renamed", "jti": "V2_1",
		"iat": now, "nbf": now, "exp": now + 3600,
		roles: map[string]any{"device": map[string]string{"1": "fleet.example.com"}},
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

func (p *provider) token(tb testing.TB, changes map[string]any) string {
	tb.Helper()
	return sign(tb, jose.RS256, p.key, "key-1", p.claims(changes))
}

func sign(tb testing.TB, algorithm jose.SignatureAlgorithm, key any, id string, claims any) string {
	tb.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	require.NoError(tb, err)
	payload, err := json.Marshal(claims)
	require.NoError(tb, err)
	signed, err := signer.Sign(payload)
	require.NoError(tb, err)
	token, err := signed.CompactSerialize()
	require.NoError(tb, err)
	return token
}

func open(tb testing.TB, p *provider, options verifier.Options) *verifier.Verifier {
	tb.Helper()
	if options.Client == nil {
		transport := &http.Transport{DisableKeepAlives: true}
		options.Client = &http.Client{Transport: transport}
	}
	v, err := verifier.New(verifier.Config{Issuer: p.server.URL, ProjectID: project, DevicePrefix: prefix}, options)
	require.NoError(tb, err)
	return v
}
