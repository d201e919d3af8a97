package zitadeltest

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	filterapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	userapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"
)

// defaultPage is how many results a list has that asks for no number.
const defaultPage = 100

// AddKey implements the API: a user can add keys to itself.
func (s *userService) AddKey(ctx context.Context, r *userapi.AddKeyRequest) (*userapi.AddKeyResponse, error) {
	user, err := s.owner(ctx, r.GetUserId())
	if err != nil {
		return nil, err
	}
	if r.GetExpirationDate() == nil {
		return nil, fail(codes.InvalidArgument, "DOMAIN-dv3t5", "expiration date missing")
	}
	if !time.Now().Before(r.GetExpirationDate().AsTime()) {
		return nil, fail(codes.InvalidArgument, "DOMAIN-dv3t5", "expiration date is in the past")
	}
	block, rest := pem.Decode(r.GetPublicKey())
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
		return nil, fail(codes.InvalidArgument, "COMMAND-5F3h1", "public key is invalid")
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		return nil, fail(codes.InvalidArgument, "COMMAND-5F3h1", "public key is invalid")
	}
	added := s.e.state.newCredential(string(r.GetPublicKey()), r.GetExpirationDate().AsTime())
	user.Keys[added.ID] = added
	return &userapi.AddKeyResponse{KeyId: added.ID, CreationDate: timestamppb.New(added.Created)}, nil
}

// RemoveKey implements the API.
func (s *userService) RemoveKey(ctx context.Context, r *userapi.RemoveKeyRequest) (*userapi.RemoveKeyResponse, error) {
	user, err := s.owner(ctx, r.GetUserId())
	if err != nil {
		return nil, err
	}
	if !s.e.remove(user.Keys, r.GetKeyId()) {
		return nil, fail(codes.NotFound, "COMMAND-4m77G", "Key not found")
	}
	return &userapi.RemoveKeyResponse{DeletionDate: timestamppb.Now()}, nil
}

// ListKeys implements the API: expired keys are among them, and the list lags.
func (s *userService) ListKeys(ctx context.Context, r *userapi.ListKeysRequest) (*userapi.ListKeysResponse, error) {
	var response userapi.ListKeysResponse
	for _, filter := range r.GetFilters() {
		id := filter.GetUserIdFilter().GetId()
		if err := s.e.state.allow(ctx, id, roleOrgOwner, roleUserManager); err != nil {
			return nil, err
		}
		user, ok := s.e.state.Users[id]
		if !ok {
			continue
		}
		for _, key := range s.e.listed(user.Keys) {
			response.Result = append(response.Result, &userapi.Key{
				Id: key.ID, UserId: id, OrganizationId: organizationID,
				CreationDate: timestamppb.New(key.Created), ExpirationDate: timestamppb.New(key.Expires),
			})
		}
	}
	response.Pagination = &filterapi.PaginationResponse{TotalResult: uint64(len(response.Result))}
	response.Result = page(response.Result, r.GetPagination())
	return &response, nil
}

// AddPersonalAccessToken implements the API: a user can add tokens to itself.
func (s *userService) AddPersonalAccessToken(ctx context.Context, r *userapi.AddPersonalAccessTokenRequest) (*userapi.AddPersonalAccessTokenResponse, error) {
	user, err := s.owner(ctx, r.GetUserId())
	if err != nil {
		return nil, err
	}
	added := s.e.state.newCredential(rand.Text(), r.GetExpirationDate().AsTime())
	user.AccessTokens[added.ID] = added
	return &userapi.AddPersonalAccessTokenResponse{TokenId: added.ID, Token: added.Content, CreationDate: timestamppb.New(added.Created)}, nil
}

// ListPersonalAccessTokens implements the API.
func (s *userService) ListPersonalAccessTokens(ctx context.Context, r *userapi.ListPersonalAccessTokensRequest) (*userapi.ListPersonalAccessTokensResponse, error) {
	var response userapi.ListPersonalAccessTokensResponse
	for _, filter := range r.GetFilters() {
		id := filter.GetUserIdFilter().GetId()
		if err := s.e.state.allow(ctx, id, roleOrgOwner, roleUserManager); err != nil {
			return nil, err
		}
		user, ok := s.e.state.Users[id]
		if !ok {
			continue
		}
		for _, token := range s.e.listed(user.AccessTokens) {
			response.Result = append(response.Result, &userapi.PersonalAccessToken{Id: token.ID, UserId: id, CreationDate: timestamppb.New(token.Created)})
		}
	}
	response.Pagination = &filterapi.PaginationResponse{TotalResult: uint64(len(response.Result))}
	response.Result = page(response.Result, r.GetPagination())
	return &response, nil
}

// RemovePersonalAccessToken implements the API.
func (s *userService) RemovePersonalAccessToken(ctx context.Context, r *userapi.RemovePersonalAccessTokenRequest) (*userapi.RemovePersonalAccessTokenResponse, error) {
	user, err := s.owner(ctx, r.GetUserId())
	if err != nil {
		return nil, err
	}
	if !s.e.remove(user.AccessTokens, r.GetTokenId()) {
		return nil, fail(codes.NotFound, "COMMAND-4m77G", "Token not found")
	}
	return &userapi.RemovePersonalAccessTokenResponse{DeletionDate: timestamppb.Now()}, nil
}

// AddSecret implements the API.
func (s *userService) AddSecret(ctx context.Context, r *userapi.AddSecretRequest) (*userapi.AddSecretResponse, error) {
	user, err := s.owner(ctx, r.GetUserId())
	if err != nil {
		return nil, err
	}
	user.Secret = true
	return &userapi.AddSecretResponse{ClientSecret: rand.Text(), CreationDate: timestamppb.Now()}, nil
}

// RemoveSecret implements the API.
func (s *userService) RemoveSecret(ctx context.Context, r *userapi.RemoveSecretRequest) (*userapi.RemoveSecretResponse, error) {
	user, err := s.owner(ctx, r.GetUserId())
	if err != nil {
		return nil, err
	}
	user.Secret = false
	return &userapi.RemoveSecretResponse{DeletionDate: timestamppb.Now()}, nil
}

// owner returns a user whose credentials the caller may change.
func (s *userService) owner(ctx context.Context, id string) (*user, error) {
	if err := s.e.state.allow(ctx, id, roleOrgOwner, roleUserManager); err != nil {
		return nil, err
	}
	user, ok := s.e.state.Users[id]
	if !ok {
		return nil, fail(codes.FailedPrecondition, "COMMAND-bnipwm1", "User not found")
	}
	return user, nil
}

func (s *state) newCredential(content string, expires time.Time) *credential {
	return &credential{ID: s.newID(), Content: content, Created: time.Now(), Expires: expires}
}

// remove reports whether there was such a credential. It stays in lists for the lag.
func (e *Emulator) remove(from map[string]*credential, id string) bool {
	now := time.Now()
	maps.DeleteFunc(from, func(_ string, c *credential) bool { return !c.Removed.IsZero() && now.After(c.Removed.Add(e.lag)) })
	found, ok := from[id]
	if !ok || !found.Removed.IsZero() {
		return false
	}
	found.Removed = now
	return true
}

// listed are the credentials as lists show them, oldest first.
func (e *Emulator) listed(all map[string]*credential) []*credential {
	seen := time.Now().Add(-e.lag)
	return slices.SortedFunc(maps.Values(maps.Collect(func(yield func(string, *credential) bool) {
		for id, c := range all {
			if !c.Created.After(seen) && (c.Removed.IsZero() || c.Removed.After(seen)) && !yield(id, c) {
				return
			}
		}
	})), func(a, b *credential) int { return strings.Compare(a.ID, b.ID) })
}

// page cuts a list as it was asked for.
func page[T any](all []T, asked *filterapi.PaginationRequest) []T {
	from := min(asked.GetOffset(), uint64(len(all)))
	limit := uint64(asked.GetLimit())
	if limit == 0 {
		limit = defaultPage
	}
	return all[from:min(from+limit, uint64(len(all)))]
}
