package device_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/device"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuer   = "https://id.example.com"
	project  = "4711"
	user     = "fleet-pi-1"
	lifetime = 12 * time.Hour
)

// provider answers in place of a token endpoint, as the test says. It checks
// every assertion as the real one does.
type provider struct {
	t      *testing.T
	public *ecdsa.PublicKey

	mu sync.Mutex
	// ahead is how far the provider's clock is ahead of the device's.
	ahead     time.Duration
	lifetime  time.Duration
	exchanges int
	// answer, when set, may answer an exchange itself: a zero status leaves it to
	// the provider.
	answer func(exchange int) (status int, body string)
	down   bool
	scopes []string
	// block, when set, holds exchanges until it is closed.
	block chan struct{}
}

func (p *provider) RoundTrip(request *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.exchanges++
	exchange, down, block, now := p.exchanges, p.down, p.block, time.Now().Add(p.ahead)
	p.mu.Unlock()
	if down {
		return nil, io.ErrUnexpectedEOF
	}
	if block != nil {
		select {
		case <-block:
		case <-request.Context().Done():
			return nil, request.Context().Err()
		}
	}
	status, body := 0, ""
	if p.answer != nil {
		status, body = p.answer(exchange)
	}
	if status == 0 {
		status, body = p.grant(request, now)
	}
	header := http.Header{"Date": {now.UTC().Format(http.TimeFormat)}}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: request}, nil
}

func (p *provider) grant(request *http.Request, now time.Time) (int, string) {
	refused := func(why string) (int, string) {
		return http.StatusBadRequest, fmt.Sprintf(`{"error":"invalid_grant","error_description":"invalid assertion: %s"}`, why)
	}
	form, err := io.ReadAll(request.Body)
	if err != nil {
		return refused("body")
	}
	request.Body = io.NopCloser(bytes.NewReader(form))
	if request.URL.String() != issuer+"/oauth/v2/token" || request.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return refused("request")
	}
	parts := strings.Split(request.PostFormValue("assertion"), ".")
	if len(parts) != 3 {
		return refused("form")
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if len(signature) != 64 || !ecdsa.Verify(p.public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return refused("signature")
	}
	var head struct{ Alg, Kid string }
	var claims struct {
		Iss, Sub, Aud string
		Iat, Exp      int64
	}
	decodePart(parts[0], &head)
	decodePart(parts[1], &claims)
	if head.Alg != "ES256" || head.Kid != "key-1" || claims.Iss != user || claims.Sub != user || claims.Aud != issuer {
		return refused("claims")
	}
	issued, expires := time.Unix(claims.Iat, 0), time.Unix(claims.Exp, 0)
	if issued.After(now.Add(time.Second)) || issued.Before(now.Add(-time.Hour)) || expires.Before(now.Add(time.Second)) {
		return refused("time")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scopes = append(p.scopes, request.PostFormValue("scope"))
	return http.StatusOK, answer(p.exchanges, true, p.lifetime)
}

func decodePart(part string, into any) {
	if raw, err := base64.RawURLEncoding.DecodeString(part); err == nil {
		_ = json.Unmarshal(raw, into) // what does not decode stays empty and is refused
	}
}

// answer is the body of a successful exchange.
func answer(serial int, role bool, lifetime time.Duration) string {
	claims := map[string]any{"jti": serial}
	if role {
		claims["urn:zitadel:iam:org:project:"+project+":roles"] = map[string]any{"device": map[string]string{"1": "fleet.example.com"}}
	}
	payload, _ := json.Marshal(claims) // a map of plain values
	token := "e30." + base64.RawURLEncoding.EncodeToString(payload) + ".c2ln"
	return fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":%d}`, token, int(lifetime.Seconds()))
}

func (p *provider) set(change func(*provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exchanges
}

// held is a key that is only reached through its interface.
type held struct{ crypto.Signer }

func newProvider(t *testing.T) (*provider, device.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &provider{t: t, public: &key.PublicKey, lifetime: lifetime},
		device.Config{Issuer: issuer, ProjectID: project, UserID: user, KeyID: "key-1", Signer: held{key}}
}

func open(t *testing.T, p *provider, config device.Config, log io.Writer) *device.TokenSource {
	t.Helper()
	options := device.Options{Client: &http.Client{Transport: p, Timeout: 20 * time.Second}}
	if log != nil {
		options.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	source, err := device.NewTokenSource(config, options)
	require.NoError(t, err)
	return source
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }
