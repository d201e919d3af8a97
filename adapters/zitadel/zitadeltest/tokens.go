package zitadeltest

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	signingKeyID = "emulator-1"
	jwtBearer    = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	rolesScope   = "urn:zitadel:iam:org:projects:roles"
	metadataName = "urn:zitadel:iam:user:metadata"
	apiName      = "zitadel"
)

// newHTTP returns the token endpoint and the keys.
func (e *Emulator) newHTTP() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/v2/token", e.serveToken)
	mux.HandleFunc("GET /oauth/v2/keys", e.serveKeys)
	mux.HandleFunc("GET /.well-known/openid-configuration", e.serveDiscovery)
	mux.HandleFunc("GET /debug/healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !e.named(r.Host) {
			answer(w, http.StatusNotFound, map[string]any{"code": 5, "message": "Instance not found. Make sure you got the domain right (QUERY-1kIjX)"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client's loss
}

func refuse(w http.ResponseWriter, status int, code, description string) {
	answer(w, status, map[string]string{"error": code, "error_description": description})
}

// serveDiscovery names the issuer as whoever asks reached it: the scheme is what a
// proxy says.
func (e *Emulator) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	scheme := cmp.Or(r.Header.Get("X-Forwarded-Proto"), "http")
	issuer := scheme + "://" + r.Host
	answer(w, http.StatusOK, map[string]any{"issuer": issuer, "jwks_uri": issuer + "/oauth/v2/keys", "token_endpoint": issuer + "/oauth/v2/token"})
}

func (e *Emulator) serveKeys(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	public := e.state.signing.Public()
	e.mu.Unlock()
	w.Header().Set("Cache-Control", "max-age=300, must-revalidate")
	answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: signingKeyID, Use: "sig", Algorithm: string(jose.RS256)}}})
}

// keyStorage finds the keys that assertions are signed with. It is used under the
// emulator's lock.
type keyStorage struct{ e *Emulator }

var errNoKey = errors.New("key not found")

// GetKeyByIDAndClientID implements op.JWTProfileKeyStorage.
func (s keyStorage) GetKeyByIDAndClientID(_ context.Context, keyID, userID string) (*jose.JSONWebKey, error) {
	user, ok := s.e.state.Users[userID]
	if !ok {
		return nil, errNoKey
	}
	key, ok := user.Keys[keyID]
	if now := time.Now(); !ok || !key.usable(now) || now.Before(key.Created.Add(s.e.lag)) {
		return nil, errNoKey
	}
	block, _ := pem.Decode([]byte(key.Content))
	if block == nil {
		return nil, errNoKey
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	return &jose.JSONWebKey{Key: public, KeyID: keyID, Use: "sig"}, nil
}

// serveToken trades an assertion for a token. The assertion is checked by the same
// library as Zitadel's.
func (e *Emulator) serveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if r.PostFormValue("grant_type") != jwtBearer {
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", "")
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	request, err := op.VerifyJWTAssertion(r.Context(), r.PostFormValue("assertion"), op.NewJWTProfileVerifier(keyStorage{e}, e.issuer, time.Hour, time.Second))
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid_grant", "invalid assertion")
		return
	}
	user, now := e.state.Users[request.Subject], time.Now()
	switch {
	case now.Before(user.Created.Add(2 * e.lag)):
		refuse(w, http.StatusNotFound, "invalid_request", "Errors.User.NotFound")
		return
	case user.Inactive:
		refuse(w, http.StatusBadRequest, "invalid_request", "Errors.User.NotActive")
		return
	}
	scopes := strings.Fields(r.PostFormValue("scope"))
	claims := e.claims(user, scopes, now)
	body := map[string]any{"access_token": "opaque-" + rand.Text(), "token_type": "Bearer", "expires_in": int(e.lifetime.Seconds())}
	if user.JWT {
		body["access_token"], err = e.state.sign(claims)
	}
	if err == nil && slices.Contains(scopes, "openid") { // of no use: it expires as it is made
		body["id_token"], err = e.state.sign(map[string]any{"iss": e.issuer, "sub": user.ID, "aud": claims["aud"], "iat": now.Unix(), "exp": now.Unix()})
	}
	if err != nil {
		refuse(w, http.StatusInternalServerError, "server_error", err.Error())
		return
	}
	answer(w, http.StatusOK, body)
}

// claims are those of an access token. The audience is whatever was asked for.
func (e *Emulator) claims(user *user, scopes []string, now time.Time) map[string]any {
	audience := []string{}
	for _, scope := range scopes {
		id, ok := strings.CutPrefix(scope, "urn:zitadel:iam:org:project:id:")
		if id, isAudience := strings.CutSuffix(id, ":aud"); ok && isAudience {
			if id == apiName {
				id = apiProject
			}
			audience = append(audience, id)
		}
	}
	claims := map[string]any{
		"iss": e.issuer, "sub": user.ID, "aud": audience, "client_id": user.Username, "jti": "V2_" + e.state.newID(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(e.lifetime).Unix(),
	}
	for _, granted := range e.state.Grants {
		if granted.User != user.ID || !slices.Contains(audience, granted.Project) || !slices.Contains(scopes, rolesScope) || now.Before(granted.Created.Add(3*e.lag)) {
			continue
		}
		roles := map[string]map[string]string{}
		for _, role := range granted.Roles {
			roles[role] = map[string]string{organizationID: primaryDomain}
		}
		claims["urn:zitadel:iam:org:project:"+granted.Project+":roles"] = roles
	}
	if slices.Contains(scopes, metadataName) {
		metadata := map[string]string{}
		for key, value := range user.Metadata {
			metadata[key] = base64.RawURLEncoding.EncodeToString(value)
		}
		claims[metadataName] = metadata
	}
	return claims
}

// Sign returns a token with the given claims, signed with the emulator's key. The
// issuer, times and identifiers that are missing are set.
func (e *Emulator) Sign(claims map[string]any) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	all := map[string]any{"iss": e.issuer, "jti": "V2_" + e.state.newID(), "iat": now.Unix(), "exp": now.Add(e.lifetime).Unix()}
	maps.Copy(all, claims)
	return e.state.sign(all)
}

func (s *state) sign(claims map[string]any) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: s.signing, KeyID: signingKeyID}}, nil)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// readToken checks a token of the emulator's own.
func (s *state) readToken(token, issuer string, now time.Time) (subject string, audience []string, ok bool) {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return "", nil, false
	}
	payload, err := signed.Verify(s.signing.Public())
	if err != nil {
		return "", nil, false
	}
	var claims struct {
		Iss, Sub string
		Aud      []string
		Exp      int64
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Iss != issuer || !now.Before(time.Unix(claims.Exp, 0)) {
		return "", nil, false
	}
	return claims.Sub, claims.Aud, true
}
