package enrollment

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"

	"github.com/nationtech/harmony-fleet/domain"
)

// Fingerprint is a short name of a public key in PKIX PEM, for people to
// compare: "SHA256:<base64>" as in SSH, "" when there is no key.
func Fingerprint(publicKey string) string {
	block, _ := pem.Decode([]byte(publicKey))
	if block == nil {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// canonicalKey returns the one PEM text of a public key that devices may use:
// equal keys have equal texts.
func canonicalKey(text string) (string, error) {
	const form = "the public key must be ECDSA P-256 as PKIX PEM"
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return "", domain.Errorf(domain.ErrInvalid, form)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return "", domain.Errorf(domain.ErrInvalid, form)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return "", domain.Errorf(domain.ErrInvalid, form)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", domain.WrapError(domain.ErrInvalid, err, form)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}
