package callout

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	adapter "github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/deploy/operator"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	keysSecret = "fleet-callout-keys"
	// OperatorSecret holds the operator's key at the broker, under
	// operator.NKeyKey.
	OperatorSecret = "fleet-operator-nkey"

	issuerKey   = "issuer.nk"
	exchangeKey = "exchange.nk"
	calloutKey  = "callout.nk"
	systemKey   = "system.nk"
)

// Keys are the seeds of the nkeys that only the callout has.
type Keys struct {
	// Issuer signs those who are admitted; Exchange encrypts the exchange with the
	// broker and is optional.
	Issuer, Exchange []byte
	// CalloutUser and SystemUser are its users at the broker.
	CalloutUser, SystemUser []byte
}

// kindsOfKeys are the keys of the callout's Secret.
func kindsOfKeys() map[string]adapter.KeyKind {
	return map[string]adapter.KeyKind{
		issuerKey: adapter.IssuerKey, exchangeKey: adapter.ExchangeKey, calloutKey: adapter.UserKey, systemKey: adapter.UserKey,
	}
}

func (k Keys) data() map[string][]byte {
	return present(map[string][]byte{issuerKey: k.Issuer, exchangeKey: k.Exchange, calloutKey: k.CalloutUser, systemKey: k.SystemUser})
}

func (s *FleetCalloutScore) checkKeys() error {
	if s.Keys != nil {
		if _, err := publicKeys(s.Keys.data(), "keys"); err != nil {
			return err
		}
	}
	if len(s.OperatorNKey) == 0 {
		return nil
	}
	_, err := adapter.PublicKey(s.OperatorNKey, adapter.UserKey)
	return domain.WrapError(domain.ErrInvalid, err, "operatorNKey")
}

// KeyResources are the Secrets with the keys that the broker must know, for
// whoever brings up the broker first. They are among Resources as well.
func (s *FleetCalloutScore) KeyResources(topology kube.Objects) []deploy.Resource {
	keys := &kube.Secret{
		Objects: topology, Namespace: s.namespace(), Name: keysSecret,
		Keep: "the broker admits by no other keys",
	}
	if s.Keys != nil {
		keys.Data = s.Keys.data()
	} else {
		keys.Generate = newKeys
	}
	credential := &kube.Secret{
		Objects: topology, Namespace: s.namespace(), Name: OperatorSecret,
		Keep: "the broker knows the operator by it",
	}
	if len(s.OperatorNKey) > 0 {
		credential.Data = map[string][]byte{operator.NKeyKey: s.OperatorNKey}
	} else {
		credential.Generate = newOperatorKey
	}
	return []deploy.Resource{keys, credential}
}

func newKeys() (map[string][]byte, error) {
	data := map[string][]byte{}
	for name, kind := range kindsOfKeys() {
		seed, err := adapter.NewSeed(kind)
		if err != nil {
			return nil, fmt.Errorf("make %s: %w", name, err)
		}
		data[name] = seed
	}
	return data, nil
}

func newOperatorKey() (map[string][]byte, error) {
	seed, err := adapter.NewSeed(adapter.UserKey)
	return map[string][]byte{operator.NKeyKey: seed}, err
}

// Admission is what the broker must know of the keys: their public halves, which
// are read from the cluster when they are needed. Others are the public nkeys of
// further operators.
func (s *FleetCalloutScore) Admission(topology kube.Objects, others ...string) nats.Admission {
	return nats.CalloutFrom(func(ctx context.Context) (nats.Callout, error) {
		keys, credential, err := s.seeds(ctx, topology)
		if err != nil {
			return nats.Callout{}, err
		}
		public, err := publicKeys(keys, "Secret "+s.namespace()+"/"+keysSecret)
		if err != nil {
			return nats.Callout{}, err
		}
		own, err := adapter.PublicKey(credential, adapter.UserKey)
		if err != nil {
			return nats.Callout{}, domain.WrapError(domain.ErrInvalid, err, "Secret %s/%s: %s", s.namespace(), OperatorSecret, operator.NKeyKey)
		}
		return nats.Callout{
			Accounts: adapter.Accounts{Fleet: s.Account}, Issuer: public[issuerKey], Exchange: public[exchangeKey],
			CalloutUser: public[calloutKey], SystemUser: public[systemKey], Operators: append([]string{own}, others...),
		}, nil
	})
}

// seeds are the given keys, and those in the cluster for what was not given.
func (s *FleetCalloutScore) seeds(ctx context.Context, topology kube.Objects) (keys map[string][]byte, credential []byte, err error) {
	if s.Keys != nil {
		keys = s.Keys.data()
	} else if keys, err = kube.ReadSecret(ctx, topology, s.namespace(), keysSecret); err != nil {
		return nil, nil, err
	}
	if len(s.OperatorNKey) > 0 {
		return keys, s.OperatorNKey, nil
	}
	data, err := kube.ReadSecret(ctx, topology, s.namespace(), OperatorSecret)
	return keys, data[operator.NKeyKey], err
}

// publicKeys are those of the seeds, which must be all but exchange.nk.
func publicKeys(seeds map[string][]byte, where string) (map[string]string, error) {
	public := map[string]string{}
	for name, kind := range kindsOfKeys() {
		seed, ok := seeds[name]
		if !ok && name == exchangeKey {
			continue
		}
		key, err := adapter.PublicKey(seed, kind)
		if err != nil {
			return nil, domain.WrapError(domain.ErrInvalid, err, "%s: %s", where, name)
		}
		public[name] = key
	}
	return public, nil
}

// stamp changes with everything secret that the pods read when they start.
func (s *FleetCalloutScore) stamp(ctx context.Context, topology kube.Objects) (string, error) {
	keys, credential, err := s.seeds(ctx, topology)
	if err != nil {
		return "", err
	}
	service := s.Identity.ServiceKey
	if name := s.Identity.ServiceKeySecret; name != "" {
		data, err := kube.ReadSecret(ctx, topology, s.namespace(), name)
		if err != nil {
			return "", deploy.WithNext(err, "make the Secret %s with the key of the service user at Zitadel, under %s", name, s.serviceKeyKey())
		}
		var ok bool
		if service, ok = data[s.serviceKeyKey()]; !ok {
			return "", domain.Errorf(domain.ErrInvalid, "Secret %s/%s has no %s", s.namespace(), name, s.serviceKeyKey())
		}
	}
	parts := [][]byte{credential, service, s.CA, s.Identity.CA}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		parts = append(parts, []byte(name), keys[name])
	}
	return kube.Stamp(s.namespace()+"/"+releaseName, bytes.Join(parts, []byte{0}))
}
