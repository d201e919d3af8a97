package zitadel

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	filterapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	userapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/device"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// operatorKeyLifetime is that of the operator's key.
	operatorKeyLifetime = 5 * 365 * 24 * time.Hour
	// maxOperatorKeys is how many keys an operator keeps whose key is lost again
	// and again.
	maxOperatorKeys = 5
)

// NewOperatorKey returns a key of the one kind that is used: ECDSA P-256.
func NewOperatorKey() (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, domain.WrapError(domain.ErrUnavailable, err, "make the operator's key")
	}
	return key, nil
}

// KnowsKey says whether a key of the operator is registered and not expired.
func (s *FleetSetup) KnowsKey(ctx context.Context, keyID string) (bool, error) {
	keys, err := s.operatorKeys(ctx)
	return slices.ContainsFunc(keys, func(key registeredKey) bool { return key.id == keyID }), err
}

// OperatorKey registers a key of the operator. One that is registered already is
// found again: so who keeps the key before, and is cut off in here, goes on with
// the same key. It returns when Zitadel shows it, and leaves the operator five
// keys at most. Zitadel sees the public half alone.
func (s *FleetSetup) OperatorKey(ctx context.Context, signer crypto.Signer) (ServiceKey, error) {
	registered := ServiceKey{UserID: s.result.OperatorID, Signer: signer}
	keys, err := s.operatorKeys(ctx)
	if err != nil {
		return ServiceKey{}, err
	}
	if registered.KeyID, err = s.which(ctx, signer, keys); err != nil || registered.KeyID != "" {
		return registered, err
	}
	if registered.KeyID, err = s.addKey(ctx, signer); err != nil {
		return ServiceKey{}, err
	}
	err = await(ctx, s.config.Issuer, func() (bool, error) {
		keys, err = s.operatorKeys(ctx)
		return slices.ContainsFunc(keys, func(key registeredKey) bool { return key.id == registered.KeyID }), err
	})
	if err != nil {
		return ServiceKey{}, err
	}
	return registered, s.trimOperatorKeys(ctx, keys)
}

// which returns the ID of a key among those that are registered, and nothing when it
// is none: they are tried all at once, since a refusal takes a moment.
func (s *FleetSetup) which(ctx context.Context, signer crypto.Signer, keys []registeredKey) (string, error) {
	opens, failures := make([]bool, len(keys)), make([]error, len(keys))
	var trials sync.WaitGroup
	for i, key := range keys {
		trials.Go(func() {
			opens[i], failures[i] = s.opens(ctx, ServiceKey{UserID: s.result.OperatorID, KeyID: key.id, Signer: signer})
		})
	}
	trials.Wait()
	if err := errors.Join(failures...); err != nil {
		return "", err
	}
	if at := slices.Index(opens, true); at >= 0 {
		return keys[at].id, nil
	}
	return "", nil
}

// opens says whether a key gives a token.
func (s *FleetSetup) opens(ctx context.Context, key ServiceKey) (bool, error) {
	tokens, err := apiTokens(s.config.Issuer, key, s.options.Client)
	if err == nil {
		_, err = tokens.Token(ctx)
	}
	if errors.Is(err, domain.ErrUnauthenticated) {
		return false, nil
	}
	return err == nil, err
}

// operatorKeys returns those that are not expired, the newest first.
func (s *FleetSetup) operatorKeys(ctx context.Context) ([]registeredKey, error) {
	response, err := call(ctx, s.api, s.api.client.UserServiceV2().ListKeys, &userapi.ListKeysRequest{
		Filters: []*userapi.KeysSearchFilter{{Filter: &userapi.KeysSearchFilter_UserIdFilter{UserIdFilter: &filterapi.IDFilter{Id: s.result.OperatorID}}}},
	})
	if err != nil {
		return nil, translate(err, "list the operator's keys")
	}
	var keys []registeredKey
	for _, key := range response.GetResult() {
		if expires := key.GetExpirationDate().AsTime(); time.Now().Before(expires) {
			keys = append(keys, registeredKey{id: key.GetId(), created: key.GetCreationDate().AsTime(), expires: expires})
		}
	}
	slices.SortFunc(keys, func(a, b registeredKey) int { return cmp.Or(b.created.Compare(a.created), cmp.Compare(b.id, a.id)) })
	return keys, nil
}

// addKey is not tried again when it was cut off, as other calls are: it may have
// succeeded, and would leave a key that nobody has.
func (s *FleetSetup) addKey(ctx context.Context, signer crypto.Signer) (string, error) {
	public, err := device.PublicKey(signer)
	if err != nil {
		return "", err
	}
	response, err := once(ctx, s.api, s.api.client.UserServiceV2().AddKey, &userapi.AddKeyRequest{
		UserId: s.result.OperatorID, PublicKey: []byte(public), ExpirationDate: timestamppb.New(time.Now().Add(operatorKeyLifetime)),
	})
	return response.GetKeyId(), translate(err, "register the operator's key")
}

func (s *FleetSetup) trimOperatorKeys(ctx context.Context, newestFirst []registeredKey) error {
	for i := maxOperatorKeys; i < len(newestFirst); i++ {
		_, err := call(ctx, s.api, s.api.client.UserServiceV2().RemoveKey, &userapi.RemoveKeyRequest{UserId: s.result.OperatorID, KeyId: newestFirst[i].id})
		if err := translate(err, "remove key %q of the operator", newestFirst[i].id); err != nil && !isNotFound(err) {
			return err
		}
	}
	return nil
}

// firstKey gives the operator a key if it has none, or when a new one is asked for.
func (s *FleetSetup) firstKey(ctx context.Context) error {
	if !s.config.NewKey {
		keys, err := s.operatorKeys(ctx)
		if err != nil || len(keys) > 0 {
			return err
		}
	}
	signer, err := NewOperatorKey()
	if err != nil {
		return err
	}
	id, err := s.addKey(ctx, signer)
	if err != nil {
		return err
	}
	s.result.Key = &ServiceKey{UserID: s.result.OperatorID, KeyID: id, Signer: signer}
	return nil
}

// CountKeys returns how many keys of the operator are not expired.
func (s *FleetSetup) CountKeys(ctx context.Context) (int, error) {
	keys, err := s.operatorKeys(ctx)
	return len(keys), err
}
