package zitadel

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	authorizationapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/authorization/v2"
	userapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// metadataProject and metadataDevice say what a user is. A user cannot change
	// its own metadata.
	metadataProject = "fleet-project"
	metadataDevice  = "fleet-device"
	// lagPatience is how long a list is waited for that does not show yet what was
	// just done. It takes up to 40 ms.
	lagPatience = 10 * time.Second
	lagFirst    = 20 * time.Millisecond
	lagMost     = 500 * time.Millisecond
)

// ensureUser makes the user of a device if there is none, and reports whether it
// did. The user's ID is its identity; its name is anything that is free, because
// another user may have taken this one's: users can rename themselves.
func (p *ZitadelIdentityProvider) ensureUser(ctx context.Context, device contracts.DeviceID) (made bool, err error) {
	name := p.userID(device)
	for range 2 {
		err = p.createUser(ctx, device, name)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, domain.ErrAlreadyExists) {
			return false, err
		}
		activeErr := p.requireActive(ctx, device)
		if activeErr == nil {
			return false, p.requireOurs(ctx, device)
		}
		if !isNotFound(activeErr) {
			return false, activeErr
		}
		// The ID is free, so it was the name.
		name = p.userID(device) + "-" + rand.Text()[:8]
	}
	return false, err
}

func (p *ZitadelIdentityProvider) createUser(ctx context.Context, device contracts.DeviceID, name string) error {
	id := p.userID(device)
	_, err := call(ctx, p.api, p.api.client.UserServiceV2().CreateUser, &userapi.CreateUserRequest{
		OrganizationId: p.config.OrganizationID,
		UserId:         &id,
		Username:       &name,
		UserType: &userapi.CreateUserRequest_Machine_{Machine: &userapi.CreateUserRequest_Machine{
			Name:            string(device),
			AccessTokenType: userapi.AccessTokenType_ACCESS_TOKEN_TYPE_JWT,
		}},
		Metadata: []*userapi.Metadata{
			{Key: metadataProject, Value: []byte(p.config.ProjectID)},
			{Key: metadataDevice, Value: []byte(device)},
		},
	})
	return translate(err, "make the user of device %q", device)
}

// requireOurs refuses a user of that ID which was not made for this fleet.
func (p *ZitadelIdentityProvider) requireOurs(ctx context.Context, device contracts.DeviceID) error {
	project := ""
	err := p.await(ctx, func() (bool, error) {
		response, err := call(ctx, p.api, p.api.client.UserServiceV2().ListUserMetadata, &userapi.ListUserMetadataRequest{UserId: p.userID(device)})
		if err != nil {
			return false, translate(err, "metadata of the user of device %q", device)
		}
		for _, entry := range response.GetMetadata() {
			if entry.GetKey() == metadataProject {
				project = string(entry.GetValue())
			}
		}
		return project != "", nil
	})
	if err != nil && !errors.Is(err, errLag) {
		return err
	}
	if project != p.config.ProjectID {
		return domain.Errorf(domain.ErrConflict, "user %q of device %q was not made for this fleet: give the fleet another prefix for its user IDs", p.userID(device), device)
	}
	return nil
}

func (p *ZitadelIdentityProvider) grantRole(ctx context.Context, device contracts.DeviceID) error {
	_, err := call(ctx, p.api, p.api.client.AuthorizationServiceV2().CreateAuthorization, &authorizationapi.CreateAuthorizationRequest{
		UserId: p.userID(device), ProjectId: p.config.ProjectID, OrganizationId: p.config.OrganizationID, RoleKeys: []string{string(domain.RoleDevice)},
	})
	return ignore(translate(err, "grant device %q its role", device), domain.ErrAlreadyExists)
}

// errLag is a list that does not show in time what was done.
var errLag = errors.New("the identity provider's lists do not show yet what was just done")

func (p *ZitadelIdentityProvider) await(ctx context.Context, ask func() (bool, error)) error {
	return await(ctx, p.config.Issuer, ask)
}

// await asks until the answer is yes, with growing pauses.
func await(ctx context.Context, issuer string, ask func() (bool, error)) error {
	deadline := time.Now().Add(lagPatience)
	for wait := lagFirst; ; wait = min(2*wait, lagMost) {
		yes, err := ask()
		if err != nil || yes {
			return err
		}
		if time.Now().After(deadline) {
			return domain.WrapError(domain.ErrUnavailable, errLag, "%s is slow", issuer)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return domain.WrapError(domain.ErrUnavailable, ctx.Err(), "the identity provider was not waited for")
	}
}
