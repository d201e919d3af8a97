package device

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// assertionBackdate keeps an assertion out of the provider's future: it takes
	// one that is an hour old, and none that is more than a second early.
	assertionBackdate = 10 * time.Second
	// assertionLifetime is short: whoever copies an assertion can use it that long.
	assertionLifetime = 5 * time.Minute
	// coordinate is the size of half an ES256 signature.
	coordinate = 32
	minRSABits = 2048
)

// assertion is what a signed assertion says.
type assertion struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// PublicKey returns the public half of a key in PKIX PEM, the one form that
// Zitadel takes: ErrInvalid when it takes no assertions of such a key.
func PublicKey(signer crypto.Signer) (string, error) {
	if _, err := algorithm(signer); err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return "", domain.WrapError(domain.ErrInvalid, err, "the public key")
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// algorithm names how a key signs. Zitadel stores keys of other kinds, P-384 and
// Ed25519 among them, but takes no assertion of theirs.
func algorithm(signer crypto.Signer) (string, error) {
	if signer == nil {
		return "", domain.Errorf(domain.ErrInvalid, "no key to sign with")
	}
	switch public := signer.Public().(type) {
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P256() {
			return "ES256", nil
		}
	case *rsa.PublicKey:
		if public.N.BitLen() >= minRSABits {
			return "RS256", nil
		}
	}
	return "", domain.Errorf(domain.ErrInvalid, "the key is neither ECDSA P-256 nor RSA of %d bits or more, and Zitadel takes no assertions of others", minRSABits)
}

// signAssertion returns the assertion as a compact JWS.
func signAssertion(signer crypto.Signer, keyID string, claims assertion) (string, error) {
	alg, err := algorithm(signer)
	if err != nil {
		return "", err
	}
	header, err := json.Marshal(map[string]string{"alg": alg, "kid": keyID, "typ": "JWT"})
	if err != nil {
		return "", domain.WrapError(domain.ErrInvalid, err, "header of the assertion")
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", domain.WrapError(domain.ErrInvalid, err, "claims of the assertion")
	}
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	digest := sha256.Sum256([]byte(signed))
	signature, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err == nil && alg == "ES256" {
		signature, err = rawSignature(signature)
	}
	if err != nil {
		return "", domain.WrapError(domain.ErrUnavailable, err, "sign with the key %q", keyID)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// rawSignature turns the ASN.1 form of crypto.Signer into that of JWS, the two
// numbers side by side.
func rawSignature(der []byte) ([]byte, error) {
	var numbers struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &numbers)
	if err != nil {
		return nil, err
	}
	for _, number := range []*big.Int{numbers.R, numbers.S} {
		if len(rest) > 0 || number.Sign() <= 0 || number.BitLen() > 8*coordinate {
			return nil, errors.New("the key's holder returned a malformed signature")
		}
	}
	raw := make([]byte, 2*coordinate)
	numbers.R.FillBytes(raw[:coordinate])
	numbers.S.FillBytes(raw[coordinate:])
	return raw, nil
}
