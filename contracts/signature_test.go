package contracts_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

func otherKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func public(key ed25519.PrivateKey) ed25519.PublicKey {
	public, _ := key.Public().(ed25519.PublicKey)
	return public
}

func TestVerify(t *testing.T) {
	trusted := []ed25519.PublicKey{public(otherKey()), testPublicKey()}
	envelope := signed()
	require.NoError(t, envelope.Verify(trusted))

	t.Run("another key", func(t *testing.T) {
		require.ErrorIs(t, envelope.Verify(trusted[:1]), ErrUnknownKey)
		require.ErrorIs(t, envelope.Verify(nil), ErrUnknownKey)
	})
	t.Run("another key under a trusted name", func(t *testing.T) {
		forged, err := Decode[Signed](SignAs(envelope.Document, KeyID(testPublicKey()), otherKey()))
		require.NoError(t, err)
		require.ErrorIs(t, forged.Verify(trusted), ErrBadSignature)
	})
	t.Run("any bit of the signature", func(t *testing.T) {
		for i := range envelope.Signature.Sig {
			changed := envelope
			changed.Signature.Sig = slices.Clone(envelope.Signature.Sig)
			changed.Signature.Sig[i] ^= 1
			require.ErrorIs(t, changed.Verify(trusted), ErrBadSignature)
		}
	})
	t.Run("any byte of the document", func(t *testing.T) {
		for i := range envelope.Document {
			changed := envelope
			changed.Document = slices.Clone(envelope.Document)
			changed.Document[i] ^= 1
			require.ErrorIs(t, changed.Verify(trusted), ErrBadSignature)
		}
	})
	t.Run("a space more", func(t *testing.T) {
		changed := envelope
		changed.Document = append(slices.Clone(envelope.Document), ' ')
		require.ErrorIs(t, changed.Verify(trusted), ErrBadSignature)
	})
	t.Run("a signature over the bare document", func(t *testing.T) {
		bare := envelope
		bare.Signature.Sig = ed25519.Sign(testKey(), envelope.Document)
		require.ErrorIs(t, bare.Verify(trusted), ErrBadSignature)
	})
	t.Run("a signature for another use", func(t *testing.T) {
		other := envelope
		other.Signature.Sig = ed25519.Sign(testKey(), append([]byte("harmony-fleet/desired-state/v2\x00"), envelope.Document...))
		require.ErrorIs(t, other.Verify(trusted), ErrBadSignature)
	})
	t.Run("trusted keys of a wrong size", func(t *testing.T) {
		for _, key := range []ed25519.PublicKey{nil, {}, testPublicKey()[:31]} {
			named := envelope
			named.Signature.KeyID = KeyID(key)
			require.ErrorIs(t, named.Verify([]ed25519.PublicKey{key}), ErrUnknownKey)
		}
	})
}

// The prefix is part of the wire: agents of every version must agree on it.
func TestSignatureIsOverPrefixAndDocument(t *testing.T) {
	envelope := signed()
	message := append([]byte("harmony-fleet/desired-state/v1\x00"), envelope.Document...)
	assert.True(t, ed25519.Verify(testPublicKey(), message, envelope.Signature.Sig))
}

func TestSignedGoldenFileVerifies(t *testing.T) {
	envelope, err := Decode[Signed](compact(t, golden{name: "signed"}))
	require.NoError(t, err)
	require.NoError(t, envelope.Verify([]ed25519.PublicKey{testPublicKey()}))
	state, err := Decode[DesiredState](envelope.Document)
	require.NoError(t, err)
	assert.Equal(t, desiredState(), state)
}

// Whoever stores an envelope and sends it on must not break its signature.
func TestSignedKeepsTheDocumentsBytes(t *testing.T) {
	for _, text := range []string{`{"a":"<&>"}`, "{ \"a\" :\n 1 }", `{"a":"\u003c\u2028"}`, "{\"a\":\"\u2028\"}", `{"b":1,"a":1.0e0}`} {
		wire := Sign([]byte(text), testKey())
		assert.True(t, json.Valid(wire))
		envelope, err := Decode[Signed](wire)
		require.NoError(t, err)
		assert.Equal(t, text, string(envelope.Document))
		again, err := Encode(envelope)
		require.NoError(t, err)
		assert.Equal(t, string(wire), string(again))
		require.NoError(t, envelope.Verify([]ed25519.PublicKey{testPublicKey()}))
	}
}

func TestSignedRules(t *testing.T) {
	checkRefusals(t, signed, []refusal[Signed]{
		{"no document", func(s *Signed) { s.Document = nil }, "document", "must be a JSON object"},
		{"null", func(s *Signed) { s.Document = json.RawMessage("null") }, "document", "must be a JSON object"},
		{"list", func(s *Signed) { s.Document = json.RawMessage("[]") }, "document", "must be a JSON object"},
		{"no key", func(s *Signed) { s.Signature.KeyID = "" }, "signature.keyID", "16 hexadecimal digits"},
		{"upper-case key", func(s *Signed) { s.Signature.KeyID = "118E609A5067437B" }, "signature.keyID", "in lower case"},
		{"key that is not hexadecimal", func(s *Signed) { s.Signature.KeyID = `118e609a5","x":1` }, "signature.keyID", "16 hexadecimal digits"},
		{"no signature", func(s *Signed) { s.Signature.Sig = nil }, "signature.sig", "must be 64 bytes in base64"},
		{"short signature", func(s *Signed) { s.Signature.Sig = s.Signature.Sig[:63] }, "signature.sig", "must be 64 bytes"},
	})
	broken := signed()
	broken.Document = json.RawMessage(`{"a":`)
	_, err := Encode(broken)
	assertFieldError(t, err, "document", "must be a JSON object")
}

func TestParsePublicKey(t *testing.T) {
	text := FormatPublicKey(testPublicKey())
	key, err := ParsePublicKey(text)
	require.NoError(t, err)
	assert.Equal(t, testPublicKey(), key)
	assert.Len(t, KeyID(key), 16)

	for _, wrong := range []string{"", "ed25519:", "ed25519", strings.TrimPrefix(text, "ed25519:"), "ED25519" + text[7:], text + "=", text + "\n", text[:len(text)-4], "ed25519:" + strings.Repeat("A", 88)} {
		_, err := ParsePublicKey(wrong)
		assertFieldError(t, err, "", "a fleet public key")
	}
}
