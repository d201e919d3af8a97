package operator

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

func (s *FleetOperatorScore) signing(topology kube.Objects) *kube.Secret {
	secret := &kube.Secret{
		Objects: topology, Namespace: s.namespace(), Name: signingSecret,
		Keep: "devices trust no other key",
	}
	if len(s.SigningKey) > 0 {
		secret.Data = map[string][]byte{signingKey: s.SigningKey}
	} else {
		secret.Generate = newSigningKey
	}
	return secret
}

func newSigningKey() (map[string][]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	return map[string][]byte{signingKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}, nil
}

// SigningKeys are the public halves of the fleet's key, as devices and the callout
// trust it: domain.ErrNotFound as long as it is to be made in the cluster.
func (s *FleetOperatorScore) SigningKeys(ctx context.Context, objects kube.Objects) ([]string, error) {
	text, where := s.SigningKey, "the signing key"
	if len(text) == 0 {
		where = "Secret " + s.namespace() + "/" + signingSecret
		data, err := kube.ReadSecret(ctx, objects, s.namespace(), signingSecret)
		if err != nil {
			return nil, err
		}
		text = data[signingKey]
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, domain.Errorf(domain.ErrInvalid, "%s is not in PEM: `fleet-operator keygen` makes one", where)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, domain.Errorf(domain.ErrInvalid, "%s is no key in PKCS #8", where)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, domain.Errorf(domain.ErrInvalid, "%s is of another kind than Ed25519", where)
	}
	public, _ := private.Public().(ed25519.PublicKey)
	return []string{contracts.FormatPublicKey(public)}, nil
}
