package contracts

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
)

// signingDomain separates signatures over desired state from any other use of
// the same key.
const signingDomain = "harmony-fleet/desired-state/v1\x00"

// publicKeyPrefix names the algorithm in the text form of a public key.
const publicKeyPrefix = "ed25519:"

var (
	// ErrUnknownKey is returned when no trusted key has the signature's key ID.
	ErrUnknownKey = errors.New("signed by a key that is not trusted here")
	// ErrBadSignature is returned when the signature does not fit the document.
	ErrBadSignature = errors.New("signature does not fit the document")
)

// Signed is a signed document: the exact bytes that were signed, and the
// signature. {"document": <raw JSON>, "signature": {"keyID", "sig"}}.
type Signed struct {
	Document  json.RawMessage `json:"document"`
	Signature Signature       `json:"signature"`
}

// Signature is an Ed25519 signature over a domain-separating prefix followed
// by the document's raw bytes.
type Signature struct {
	// KeyID is the first 8 bytes of the SHA-256 of the public key, in hex.
	KeyID string `json:"keyID"`
	// Sig is the 64-byte signature, base64 on the wire.
	Sig []byte `json:"sig"`
}

// KeyID names a public key in signatures.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// FormatPublicKey returns "ed25519:<base64>", the form used in configuration.
func FormatPublicKey(key ed25519.PublicKey) string {
	return publicKeyPrefix + base64.StdEncoding.EncodeToString(key)
}

// isLowerHex reports whether s is that many hexadecimal digits in lower case.
func isLowerHex(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}

// ParsePublicKey reads the form of FormatPublicKey. The error does not quote s,
// which might be a private key by mistake.
func ParsePublicKey(s string) (ed25519.PublicKey, error) {
	encoded, ok := strings.CutPrefix(s, publicKeyPrefix)
	if !ok {
		return nil, invalid("", "a fleet public key begins with %q", publicKeyPrefix)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) != ed25519.PublicKeySize || FormatPublicKey(key) != s {
		return nil, invalid("", "a fleet public key is %q and %d bytes in base64", publicKeyPrefix, ed25519.PublicKeySize)
	}
	return key, nil
}

// digestLength is the number of hexadecimal digits of a DocumentDigest.
const digestLength = 16

// DocumentDigest names a document's exact bytes: the first 8 bytes of their
// SHA-256, in hex. It finds differences by mistake; the signature guards
// against those on purpose.
func DocumentDigest(document []byte) string {
	sum := sha256.Sum256(document)
	return hex.EncodeToString(sum[:digestLength/2])
}

// Sign signs document, which must be the JSON that Encode returns, and returns
// the encoded envelope. Like ed25519.Sign it panics when key is not a key.
func Sign(document []byte, key ed25519.PrivateKey) []byte {
	public, _ := key.Public().(ed25519.PublicKey)
	return SignAs(document, KeyID(public), key)
}

// SignAs is Sign with the key's ID already known. A publisher of a whole fleet
// saves the hash.
func SignAs(document []byte, keyID string, key ed25519.PrivateKey) []byte {
	// What is signed becomes the envelope where it lies: its prefix has room for
	// the envelope's head.
	out := make([]byte, 0, len(signingDomain)+len(document)+envelopeTailSize(keyID))
	out = append(append(out, signingDomain...), document...)
	sig := ed25519.Sign(key, out)

	out = out[len(signingDomain)-len(envelopeHead):]
	copy(out, envelopeHead)
	return appendEnvelopeTail(out, keyID, sig)
}

// An envelope is the head, the document's bytes as they are, and the tail:
// json.Marshal would compact and escape them, and the signature would no longer
// fit.
const (
	envelopeHead   = `{"document":`
	envelopeMiddle = `,"signature":{"keyID":"`
	envelopeLast   = `","sig":"`
	envelopeEnd    = `"}}`
)

func envelopeTailSize(keyID string) int {
	const sig = (ed25519.SignatureSize + 2) / 3 * 4 // in base64
	return len(envelopeMiddle) + len(keyID) + len(envelopeLast) + sig + len(envelopeEnd)
}

func appendEnvelopeTail(out []byte, keyID string, sig []byte) []byte {
	out = append(append(out, envelopeMiddle...), keyID...)
	out = append(out, envelopeLast...)
	out = base64.StdEncoding.AppendEncode(out, sig)
	return append(out, envelopeEnd...)
}

// Validate checks the envelope's form, not the signature itself.
func (s Signed) Validate() error {
	if len(s.Document) == 0 || s.Document[0] != '{' {
		return invalid("document", "must be a JSON object")
	}
	if len(s.Document) > MaxDocumentBytes {
		return invalid("document", "has %d bytes, at most %d are allowed", len(s.Document), MaxDocumentBytes)
	}
	if !isLowerHex(s.Signature.KeyID, 16) {
		return invalid("signature.keyID", "must be 16 hexadecimal digits in lower case")
	}
	if len(s.Signature.Sig) != ed25519.SignatureSize {
		return invalid("signature.sig", "must be %d bytes in base64", ed25519.SignatureSize)
	}
	return nil
}

func (s Signed) marshal() ([]byte, error) {
	if !json.Valid(s.Document) {
		return nil, invalid("document", "must be a JSON object")
	}
	out := make([]byte, 0, len(envelopeHead)+len(s.Document)+envelopeTailSize(s.Signature.KeyID))
	out = append(append(out, envelopeHead...), s.Document...)
	return appendEnvelopeTail(out, s.Signature.KeyID, s.Signature.Sig), nil
}

// Verify checks the signature against the trusted keys and returns nil,
// ErrUnknownKey or ErrBadSignature. Trusted keys of another size than an Ed25519
// key's are passed over.
func (s Signed) Verify(trusted []ed25519.PublicKey) error {
	message := append([]byte(signingDomain), s.Document...)
	for _, key := range trusted {
		if len(key) != ed25519.PublicKeySize || KeyID(key) != s.Signature.KeyID {
			continue
		}
		if ed25519.Verify(key, message, s.Signature.Sig) {
			return nil
		}
		return ErrBadSignature
	}
	return ErrUnknownKey
}
