package device

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"access_token":"a.b.c","token_type":"Bearer","expires_in":43199}`))
	f.Add(400, []byte(`{"error":"invalid_grant","error_description":"invalid assertion"}`))
	f.Add(404, []byte(`{"code":5,"message":"Errors.User.NotFound"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		granted, err := decodeAnswer(status, body)
		if err != nil {
			require.Zero(t, granted)
			return
		}
		require.Equal(t, http.StatusOK, status)
		require.Positive(t, granted.lifetime)
		require.True(t, plausible(granted.token))
		hasRole(granted.token, "1")
	})
}

func FuzzCache(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://id.example.com","projectID":"1","userID":"u","keyID":"k","token":"a.b.c","obtainedAt":"2026-01-01T00:00:00Z","expiresAt":"2026-01-01T12:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entry, err := decodeCache(data)
		if err != nil {
			return
		}
		var s state
		s.hold(entry.Token, entry.ObtainedAt, entry.ExpiresAt)
		require.False(t, s.renewAt.After(s.expires))
		require.False(t, s.renewAt.Before(s.obtained))
		require.LessOrEqual(t, s.untilRenewal(), look)
	})
}

func FuzzRole(f *testing.F) {
	f.Add("e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"urn:zitadel:iam:org:project:1:roles":{"device":{"2":"x"}}}`)) + ".")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if hasRole(token, "1") {
			require.Equal(t, 2, strings.Count(token, "."))
		}
	})
}

func FuzzSignature(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(f, err)
	der, err := key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	require.NoError(f, err)
	f.Add(der)
	f.Fuzz(func(t *testing.T, der []byte) {
		if raw, err := rawSignature(der); err == nil {
			require.Len(t, raw, 64)
		}
	})
}

func TestRSASignature(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	signed, err := signAssertion(key, "key-1", assertion{Issuer: "u", IssuedAt: time.Now().Unix()})
	require.NoError(t, err)
	parts := strings.Split(signed, ".")
	require.Len(t, parts, 3)
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	require.NoError(t, err)
	require.JSONEq(t, `{"alg":"RS256","kid":"key-1","typ":"JWT"}`, string(header))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	require.NoError(t, rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature))
	_, err = PublicKey(key)
	require.NoError(t, err)
}
