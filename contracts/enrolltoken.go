package contracts

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"
)

const (
	// enrollmentDomain separates signatures over enrollment tokens from any
	// other use of the same key.
	enrollmentDomain = "harmony-fleet/enrollment-token/v1\x00"
	// enrollmentPrefix begins the text of an enrollment token. No token of an
	// identity provider begins so.
	enrollmentPrefix = "fleet-enroll-v1."
	// MaxEnrollmentToken bounds the text of an enrollment token, in bytes.
	MaxEnrollmentToken = 1024
	// nonceDigits is the length of a nonce: 16 random bytes in hex.
	nonceDigits = 32
)

// EnrollmentToken is what a one-time enrollment token says:
// "fleet-enroll-v1.<this document>.<signature>", both parts in unpadded
// base64url. The signature is Ed25519 over a domain-separating prefix and the
// document's bytes.
type EnrollmentToken struct {
	Device DeviceID `json:"device"`
	// ExpiresAt is when the token stops being of any use, in whole seconds.
	ExpiresAt time.Time `json:"expiresAt"`
	// Nonce makes every token another one.
	Nonce string `json:"nonce"`
	// SigningKey is the fleet's public key that signed the token, in the form of
	// FormatPublicKey. Tokens reach a device past the broker, so the device
	// knows from its token whom to trust.
	SigningKey string `json:"signingKey"`
}

// NewEnrollmentToken returns what a new token for the device says, without the
// signing key.
func NewEnrollmentToken(device DeviceID, expires time.Time) EnrollmentToken {
	var nonce [nonceDigits / 2]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return EnrollmentToken{Device: device, ExpiresAt: expires.UTC().Truncate(time.Second), Nonce: hex.EncodeToString(nonce[:])}
}

// Validate checks the device, the nonce and the key.
func (t EnrollmentToken) Validate() error {
	if err := t.Device.Validate(); err != nil {
		return in("device", err)
	}
	if t.ExpiresAt.IsZero() {
		return invalid("expiresAt", "must be set")
	}
	if !isLowerHex(t.Nonce, nonceDigits) {
		return invalid("nonce", "must be %d hexadecimal digits in lower case", nonceDigits)
	}
	if _, err := ParsePublicKey(t.SigningKey); err != nil {
		return in("signingKey", err)
	}
	return nil
}

// Sign returns the token's text, signed by key, whose public half becomes the
// signing key. Like ed25519.Sign it panics when key is not a key.
func (t EnrollmentToken) Sign(key ed25519.PrivateKey) (string, error) {
	public, _ := key.Public().(ed25519.PublicKey)
	t.SigningKey = FormatPublicKey(public)
	document, err := Encode(t)
	if err != nil {
		return "", err
	}
	signature := ed25519.Sign(key, append([]byte(enrollmentDomain), document...))
	encoding := base64.RawURLEncoding
	return enrollmentPrefix + encoding.EncodeToString(document) + "." + encoding.EncodeToString(signature), nil
}

// IsEnrollmentToken reports whether a text has the form of an enrollment token,
// which says nothing about whether it is a good one.
func IsEnrollmentToken(text string) bool { return strings.HasPrefix(text, enrollmentPrefix) }

// ParseEnrollmentToken reads a token's text and checks that it is signed by the
// key that it names, but neither that the key is to be trusted nor that the
// token has not expired. The error is a *DecodeError or ErrBadSignature, and
// never quotes the text.
func ParseEnrollmentToken(text string) (EnrollmentToken, error) {
	if len(text) > MaxEnrollmentToken {
		return EnrollmentToken{}, tokenError("has %d bytes, at most %d are allowed", len(text), MaxEnrollmentToken)
	}
	rest, ok := strings.CutPrefix(text, enrollmentPrefix)
	first, second, both := strings.Cut(rest, ".")
	if !ok || !both {
		return EnrollmentToken{}, tokenError("must be %s<document>.<signature>", enrollmentPrefix)
	}
	encoding := base64.RawURLEncoding.Strict()
	document, err := encoding.DecodeString(first)
	if err != nil {
		return EnrollmentToken{}, tokenError("its document must be unpadded base64url")
	}
	signature, err := encoding.DecodeString(second)
	if err != nil || len(signature) != ed25519.SignatureSize {
		return EnrollmentToken{}, tokenError("its signature must be %d bytes in unpadded base64url", ed25519.SignatureSize)
	}
	token, err := Decode[EnrollmentToken](document)
	if err != nil {
		return EnrollmentToken{}, err
	}
	key, err := ParsePublicKey(token.SigningKey)
	if err != nil {
		return EnrollmentToken{}, &DecodeError{Type: "EnrollmentToken", Cause: in("signingKey", err)}
	}
	if !ed25519.Verify(key, append([]byte(enrollmentDomain), document...), signature) {
		return EnrollmentToken{}, ErrBadSignature
	}
	return token, nil
}

func tokenError(format string, args ...any) error {
	return &DecodeError{Type: "EnrollmentToken", Cause: invalid("", format, args...)}
}

// HashEnrollmentToken is the TokenHash of a token's text.
func HashEnrollmentToken(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// EnrollTokenRequest asks whoever holds the fleet's signing key for a token.
type EnrollTokenRequest struct {
	Device    DeviceID  `json:"device"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// Validate checks the device.
func (r EnrollTokenRequest) Validate() error {
	if err := r.Device.Validate(); err != nil {
		return in("device", err)
	}
	if r.ExpiresAt.IsZero() {
		return invalid("expiresAt", "must be set")
	}
	return nil
}

// EnrollTokenResult answers an EnrollTokenRequest, within a CommandReply.
type EnrollTokenResult struct {
	Token string `json:"token"`
}

// Validate checks the token's form and signature.
func (r EnrollTokenResult) Validate() error {
	if _, err := ParseEnrollmentToken(r.Token); err != nil {
		return invalid("token", "is not an enrollment token")
	}
	return nil
}
