package zitadelsetup

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"

	adapter "github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// KeySecret is the Secret with the operator's key, a key file of Zitadel's own form
// under KeyFile. Draft holds a key whose ID is not known yet: it is written before
// the key is registered, and removed when the Secret is whole, so that a run that
// is cut off in between goes on with the same key.
const (
	KeySecret = "fleet-identity-operator"
	KeyFile   = "service-key.json"

	draftSecret = "fleet-identity-operator-draft"
	draftFile   = "key.pem"
)

// key is the operator's key, at Zitadel and in the Secret.
type key struct {
	score    *FleetZitadelSetupScore
	topology Cluster
}

var _ deploy.Resource = (*key)(nil)

// ID implements deploy.Resource.
func (k *key) ID() string { return k.secret(KeySecret, nil).ID() }

func (k *key) secret(name string, data map[string][]byte) *kube.Secret {
	return &kube.Secret{Objects: k.topology, Namespace: k.score.namespace(), Name: name, Data: data}
}

// readKey returns the key of a Secret: domain.ErrNotFound when there is none.
func readKey(ctx context.Context, objects kube.Objects, namespace, name string) (adapter.ServiceKey, error) {
	data, err := kube.ReadSecret(ctx, objects, namespace, name)
	if err != nil {
		return adapter.ServiceKey{}, err
	}
	key, err := adapter.ParseServiceKey(data[KeyFile])
	if err != nil {
		return adapter.ServiceKey{}, domain.WrapError(domain.ErrInvalid, err, "Secret %s/%s, %s", namespace, name, KeyFile)
	}
	return key, nil
}

// Plan implements deploy.Resource.
func (k *key) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	if goal == deploy.Absent {
		return k.removal(ctx)
	}
	change, err := k.lacking(ctx)
	if err != nil || change.Action != deploy.ActionNone {
		return change, err
	}
	_, err = kube.ReadSecret(ctx, k.topology, k.score.namespace(), draftSecret)
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return change, nil
	case err != nil:
		return deploy.Change{}, k.advised(err)
	}
	return deploy.Change{Action: deploy.ActionUpdate, Summary: "remove the draft " + draftSecret + " that an earlier run left"}, nil
}

// lacking is what the Secret lacks, whatever draft there is; unchanged when it
// holds a key of the operator that Zitadel knows.
func (k *key) lacking(ctx context.Context) (deploy.Change, error) {
	stored, err := readKey(ctx, k.topology, k.score.namespace(), KeySecret)
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return deploy.Change{Action: deploy.ActionCreate, Summary: "make the operator's key, and register it at Zitadel"}, nil
	case errors.Is(err, domain.ErrInvalid):
		return deploy.Change{Action: deploy.ActionUpdate, Summary: "it holds no key: make a new one"}, nil
	case err != nil:
		return deploy.Change{}, k.advised(err)
	}
	known := false
	err = k.score.administer(ctx, k.topology, func(setup *adapter.FleetSetup) (err error) {
		if _, err = setup.Find(ctx); err == nil {
			known, err = setup.KnowsKey(ctx, stored.KeyID)
		}
		return err
	})
	switch {
	case errors.Is(err, errNoZitadel):
		return onceThere(err), nil
	case err != nil:
		return deploy.Change{}, err
	case !known || stored.UserID != k.score.prefix().OperatorID():
		return deploy.Change{Action: deploy.ActionUpdate, Summary: "Zitadel does not know this key of the operator, or it has expired: make a new one"}, nil
	}
	return deploy.Unchanged("there, and known to Zitadel"), nil
}

func (k *key) removal(ctx context.Context) (deploy.Change, error) {
	change, err := k.secret(KeySecret, nil).Plan(ctx, deploy.Absent)
	if err != nil || change.Action != deploy.ActionNone {
		return change, err
	}
	return k.secret(draftSecret, nil).Plan(ctx, deploy.Absent)
}

// Apply implements deploy.Resource.
func (k *key) Apply(ctx context.Context, goal deploy.Goal, progress deploy.Progress) error {
	if goal == deploy.Present {
		change, err := k.lacking(ctx)
		if err == nil && change.Action != deploy.ActionNone {
			err = k.make(ctx, progress)
		}
		if err != nil {
			return err
		}
	} else if err := k.remove(ctx, KeySecret, progress); err != nil {
		return err
	}
	return k.remove(ctx, draftSecret, progress)
}

// remove leaves a Secret alone that was made by others.
func (k *key) remove(ctx context.Context, name string, progress deploy.Progress) error {
	secret := k.secret(name, nil)
	change, err := secret.Plan(ctx, deploy.Absent)
	if err != nil || change.Action == deploy.ActionNone {
		return err
	}
	return secret.Apply(ctx, deploy.Absent, progress)
}

// make registers the key of the draft, and writes the Secret at once.
func (k *key) make(ctx context.Context, progress deploy.Progress) error {
	// What others made under this name is found out before anything is registered.
	if _, err := k.secret(KeySecret, map[string][]byte{KeyFile: nil}).Plan(ctx, deploy.Present); err != nil {
		return err
	}
	signer, err := k.draft(ctx, progress)
	if err != nil {
		return err
	}
	return k.score.administer(ctx, k.topology, func(setup *adapter.FleetSetup) error {
		progress("register the key")
		registered, err := setup.OperatorKey(ctx, signer)
		if err != nil {
			return err
		}
		file, err := registered.Encode()
		if err != nil {
			return err
		}
		return k.secret(KeySecret, map[string][]byte{KeyFile: file}).Apply(ctx, deploy.Present, progress)
	})
}

// draft returns the key of an earlier run that was cut off, or keeps a new one.
func (k *key) draft(ctx context.Context, progress deploy.Progress) (crypto.Signer, error) {
	data, err := kube.ReadSecret(ctx, k.topology, k.score.namespace(), draftSecret)
	if err == nil {
		if signer := parseDraft(data[draftFile]); signer != nil {
			return signer, nil
		}
	} else if !errors.Is(err, domain.ErrNotFound) {
		return nil, k.advised(err)
	}
	signer, err := adapter.NewOperatorKey()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, domain.WrapError(domain.ErrUnsupported, err, "write the operator's key")
	}
	secret := k.secret(draftSecret, map[string][]byte{draftFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})})
	if _, err := secret.Plan(ctx, deploy.Present); err != nil {
		return nil, err
	}
	return signer, secret.Apply(ctx, deploy.Present, progress)
}

// parseDraft returns nil for what is no key.
func parseDraft(data []byte) crypto.Signer {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil
	}
	signer, _ := parsed.(crypto.Signer)
	return signer
}

func (k *key) advised(err error) error {
	if errors.Is(err, domain.ErrPermissionDenied) {
		return deploy.WithNext(err, "have an administrator allow get, create, patch and delete of secrets in namespace %s", k.score.namespace())
	}
	return err
}
