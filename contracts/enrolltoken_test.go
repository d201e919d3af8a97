package contracts_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

func TestEnrollmentTokenIsFrozen(t *testing.T) {
	text, err := enrollmentToken().Sign(testKey())
	require.NoError(t, err)
	require.Equal(t, testEnrollmentToken, text)
	token, err := ParseEnrollmentToken(text)
	require.NoError(t, err)
	require.Equal(t, enrollmentToken(), token)
	require.True(t, IsEnrollmentToken(text))
	require.False(t, IsEnrollmentToken("eyJhbGciOiJSUzI1NiJ9.e30.c2ln"))
	require.Len(t, HashEnrollmentToken(text), 64)
}

func TestEnrollmentTokensDiffer(t *testing.T) {
	expires := time.Now().Add(time.Hour)
	one, two := NewEnrollmentToken("pi", expires), NewEnrollmentToken("pi", expires)
	require.NotEqual(t, one.Nonce, two.Nonce)
	require.WithinDuration(t, expires, one.ExpiresAt, time.Second)
}

func TestEnrollmentTokenRefusals(t *testing.T) {
	good := testEnrollmentToken
	parts := strings.Split(good, ".")
	other := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	document, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	// A signature over the bare document is one of another use of the key.
	bare := base64.RawURLEncoding.EncodeToString(ed25519.Sign(testKey(), document))
	foreign := base64.RawURLEncoding.EncodeToString(ed25519.Sign(other, document))
	changed := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(document), "pi-042", "pi-043", 1)))
	for name, text := range map[string]string{
		"empty":            "",
		"other form":       "a.b.c",
		"no signature":     parts[0] + "." + parts[1],
		"padded":           good + "==",
		"other base64":     good[:len(good)-1] + "!",
		"too long":         good + strings.Repeat("A", MaxEnrollmentToken),
		"no domain":        parts[0] + "." + parts[1] + "." + bare,
		"another key":      parts[0] + "." + parts[1] + "." + foreign,
		"changed document": parts[0] + "." + changed + "." + parts[2],
		"not a document":   parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte("{}")) + "." + parts[2],
	} {
		_, err := ParseEnrollmentToken(text)
		require.Error(t, err, name)
		if text != "" {
			require.NotContains(t, err.Error(), text, name)
		}
	}
}

func TestEnrollmentTokenChecksItself(t *testing.T) {
	checkRefusals(t, enrollmentToken, []refusal[EnrollmentToken]{
		{"name", func(s *EnrollmentToken) { s.Device = "" }, "device", "must not be empty"},
		{"no time", func(s *EnrollmentToken) { s.ExpiresAt = time.Time{} }, "expiresAt", "must be set"},
		{"nonce", func(s *EnrollmentToken) { s.Nonce = "xyz" }, "nonce", "must be 32 hexadecimal digits"},
		{"key", func(s *EnrollmentToken) { s.SigningKey = "" }, "signingKey", "a fleet public key begins with"},
	})
	request := func() EnrollTokenRequest { return EnrollTokenRequest{Device: "pi", ExpiresAt: at(1)} }
	checkRefusals(t, request, []refusal[EnrollTokenRequest]{
		{"name", func(s *EnrollTokenRequest) { s.Device = "" }, "device", "must not be empty"},
		{"no time", func(s *EnrollTokenRequest) { s.ExpiresAt = time.Time{} }, "expiresAt", "must be set"},
	})
	rotate := func() RotateRequest { return RotateRequest{Token: testEnrollmentToken} }
	checkRefusals(t, rotate, []refusal[RotateRequest]{
		{"token", func(s *RotateRequest) { s.Token = "x" }, "token", "is not an enrollment token"},
	})
	result := func() EnrollTokenResult { return EnrollTokenResult{Token: testEnrollmentToken} }
	checkRefusals(t, result, []refusal[EnrollTokenResult]{
		{"token", func(s *EnrollTokenResult) { s.Token = "x" }, "token", "is not an enrollment token"},
	})
}

// Whatever the text, no panic; what parses says the same when it is read again.
func FuzzParseEnrollmentToken(f *testing.F) {
	f.Add(testEnrollmentToken)
	for _, wrong := range []string{"", "fleet-enroll-v1.", "fleet-enroll-v1.e30.AAAA", "fleet-enroll-v1..", "\x00", "é"} {
		f.Add(wrong)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseEnrollmentToken(text)
		if err != nil {
			require.LessOrEqual(t, len(err.Error()), 2048)
			return
		}
		require.NoError(t, token.Validate())
		require.True(t, IsEnrollmentToken(text))
	})
}
