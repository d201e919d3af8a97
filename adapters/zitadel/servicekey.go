package zitadel

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"

	"github.com/nationtech/harmony-fleet/domain"
)

const (
	serviceAccount = "serviceaccount"
	maxServiceKey  = 64 << 10
)

// ServiceKey is the key of a service user, in the form of Zitadel's key files. It
// is a secret.
type ServiceKey struct {
	UserID string
	KeyID  string
	Signer crypto.Signer
}

// serviceKeyFile is a key file.
type serviceKeyFile struct {
	Type   string `json:"type"`
	KeyID  string `json:"keyId"`
	Key    string `json:"key"`
	UserID string `json:"userId"`
}

// ParseServiceKey reads a key file, such as one that Zitadel's console makes:
// ErrInvalid when it is none.
func ParseServiceKey(data []byte) (ServiceKey, error) {
	var file serviceKeyFile
	// The causes are left out: they could quote the key.
	if len(data) > maxServiceKey || json.Unmarshal(data, &file) != nil || file.Type != serviceAccount || file.KeyID == "" || file.UserID == "" {
		return ServiceKey{}, domain.Errorf(domain.ErrInvalid, "this is not the key file of a service user: it is JSON with the type %q, keyId, key and userId", serviceAccount)
	}
	block, _ := pem.Decode([]byte(file.Key))
	if block == nil {
		return ServiceKey{}, domain.Errorf(domain.ErrInvalid, "the key of service user %q is not PEM", file.UserID)
	}
	signer, ok := parsePrivateKey(block.Bytes).(crypto.Signer)
	if !ok {
		return ServiceKey{}, domain.Errorf(domain.ErrInvalid, "the key of service user %q is not a private key in PKCS #1, PKCS #8 or SEC 1", file.UserID)
	}
	return ServiceKey{UserID: file.UserID, KeyID: file.KeyID, Signer: signer}, nil
}

func parsePrivateKey(der []byte) any {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key
	}
	return nil
}

// Encode returns the key file: ErrUnsupported when the key is held elsewhere.
func (k ServiceKey) Encode() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Signer)
	if err != nil {
		return nil, domain.WrapError(domain.ErrUnsupported, err, "the key of service user %q cannot be written", k.UserID)
	}
	return json.Marshal(serviceKeyFile{
		Type: serviceAccount, KeyID: k.KeyID, UserID: k.UserID,
		Key: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
}
