package zitadel

import (
	"context"
	"slices"
	"time"

	filterapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	userapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	// maxDeviceKeys is how many keys a device keeps that enrolls again and again.
	maxDeviceKeys = 5
	pageSize      = 100
	// settle is how long a list must stay empty until it is believed.
	settle = 250 * time.Millisecond
)

// registeredKey is a key of a user, as Zitadel shows it: without the key.
type registeredKey struct {
	id      string
	created time.Time
	expires time.Time
}

// addKey registers a public key. Zitadel never sees the private one.
func (p *ZitadelIdentityProvider) addKey(ctx context.Context, device contracts.DeviceID, publicKey string, expires time.Time) (registeredKey, error) {
	response, err := call(ctx, p.api, p.api.client.UserServiceV2().AddKey, &userapi.AddKeyRequest{
		UserId: p.userID(device), PublicKey: []byte(publicKey), ExpirationDate: timestamppb.New(expires),
	})
	if err != nil {
		return registeredKey{}, translate(err, "register the key of device %q", device)
	}
	return registeredKey{id: response.GetKeyId(), created: response.GetCreationDate().AsTime(), expires: expires}, nil
}

// listKeys lags behind what was done, and shows expired keys.
func (p *ZitadelIdentityProvider) listKeys(ctx context.Context, device contracts.DeviceID) ([]registeredKey, error) {
	var keys []registeredKey
	for {
		response, err := call(ctx, p.api, p.api.client.UserServiceV2().ListKeys, &userapi.ListKeysRequest{
			Pagination: &filterapi.PaginationRequest{Offset: uint64(len(keys)), Limit: pageSize, Asc: true},
			Filters:    []*userapi.KeysSearchFilter{{Filter: &userapi.KeysSearchFilter_UserIdFilter{UserIdFilter: &filterapi.IDFilter{Id: p.userID(device)}}}},
		})
		if err != nil {
			return nil, translate(err, "list the keys of device %q", device)
		}
		for _, key := range response.GetResult() {
			keys = append(keys, registeredKey{id: key.GetId(), created: key.GetCreationDate().AsTime(), expires: key.GetExpirationDate().AsTime()})
		}
		if len(response.GetResult()) < pageSize {
			return keys, nil
		}
	}
}

func (p *ZitadelIdentityProvider) removeKeys(ctx context.Context, device contracts.DeviceID, keys []registeredKey) error {
	for _, key := range keys {
		_, err := call(ctx, p.api, p.api.client.UserServiceV2().RemoveKey, &userapi.RemoveKeyRequest{UserId: p.userID(device), KeyId: key.id})
		if err := translate(err, "remove key %q of device %q", key.id, device); err != nil && !isNotFound(err) {
			return err
		}
	}
	return nil
}

// removeOlderKeys leaves a new key and those that are newer still. The list is up
// to date as soon as it shows the new key.
func (p *ZitadelIdentityProvider) removeOlderKeys(ctx context.Context, device contracts.DeviceID, newest registeredKey) error {
	var older []registeredKey
	err := p.await(ctx, func() (bool, error) {
		keys, err := p.listKeys(ctx, device)
		at := slices.IndexFunc(keys, func(key registeredKey) bool { return key.id == newest.id })
		if err != nil || at < 0 {
			return false, err
		}
		created := keys[at].created
		older = slices.DeleteFunc(keys, func(key registeredKey) bool {
			return key.id == newest.id || key.created.After(created) || (key.created.Equal(created) && key.id > newest.id)
		})
		return true, nil
	})
	if err != nil {
		return err
	}
	return p.removeKeys(ctx, device, older)
}

// trimKeys removes what a device leaves behind that enrolls again and again:
// expired keys, and the oldest ones. It is no failure of the enrollment when that
// does not work.
func (p *ZitadelIdentityProvider) trimKeys(ctx context.Context, device contracts.DeviceID, newest registeredKey) {
	keys, err := p.listKeys(ctx, device)
	if err == nil {
		now := time.Now()
		keys = slices.DeleteFunc(keys, func(key registeredKey) bool { return key.id == newest.id })
		slices.SortFunc(keys, func(a, b registeredKey) int { return b.created.Compare(a.created) })
		var surplus []registeredKey
		for i, key := range keys {
			if i >= maxDeviceKeys-1 || key.expires.Before(now) {
				surplus = append(surplus, key)
			}
		}
		err = p.removeKeys(ctx, device, surplus)
	}
	if err != nil {
		p.log.WarnContext(ctx, "surplus keys of a device could not be removed", "device", device, "error", err)
	}
}

// removeCredentials removes all keys of a device, and what it may have given
// itself: personal access tokens and a secret. It goes on until the lists have
// stayed empty for a while, because they lag.
func (p *ZitadelIdentityProvider) removeCredentials(ctx context.Context, device contracts.DeviceID) error {
	var empty time.Time
	return p.await(ctx, func() (bool, error) {
		keys, err := p.listKeys(ctx, device)
		if err != nil {
			return false, err
		}
		removed, err := p.removeAccessTokens(ctx, device)
		if err != nil {
			return false, err
		}
		if len(keys) > 0 || removed {
			empty = time.Time{}
			return false, p.removeKeys(ctx, device, keys)
		}
		if empty.IsZero() {
			empty = time.Now()
		}
		if time.Since(empty) < settle {
			return false, nil
		}
		return true, p.removeSecret(ctx, device)
	})
}

// removeAccessTokens reports whether the list showed any.
func (p *ZitadelIdentityProvider) removeAccessTokens(ctx context.Context, device contracts.DeviceID) (bool, error) {
	response, err := call(ctx, p.api, p.api.client.UserServiceV2().ListPersonalAccessTokens, &userapi.ListPersonalAccessTokensRequest{
		Pagination: &filterapi.PaginationRequest{Limit: pageSize},
		Filters: []*userapi.PersonalAccessTokensSearchFilter{{Filter: &userapi.PersonalAccessTokensSearchFilter_UserIdFilter{
			UserIdFilter: &filterapi.IDFilter{Id: p.userID(device)},
		}}},
	})
	if err != nil {
		return false, translate(err, "list the access tokens of device %q", device)
	}
	for _, token := range response.GetResult() {
		_, err := call(ctx, p.api, p.api.client.UserServiceV2().RemovePersonalAccessToken, &userapi.RemovePersonalAccessTokenRequest{UserId: p.userID(device), TokenId: token.GetId()})
		// That one is gone is all that is wanted.
		if err := translate(err, "remove an access token of device %q", device); err != nil && !isNotFound(err) {
			return false, err
		}
	}
	return len(response.GetResult()) > 0, nil
}

func (p *ZitadelIdentityProvider) removeSecret(ctx context.Context, device contracts.DeviceID) error {
	response, err := call(ctx, p.api, p.api.client.UserServiceV2().GetUserByID, &userapi.GetUserByIDRequest{UserId: p.userID(device)})
	if err != nil || !response.GetUser().GetMachine().GetHasSecret() {
		return translate(err, "the identity of device %q", device)
	}
	_, err = call(ctx, p.api, p.api.client.UserServiceV2().RemoveSecret, &userapi.RemoveSecretRequest{UserId: p.userID(device)})
	return translate(err, "remove the secret of device %q", device)
}
