package zitadel

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"

	authorizationapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/authorization/v2"
	filterapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	permissionapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/internal_permission/v2"
	userapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"

	"github.com/nationtech/harmony-fleet/domain"
)

const userManager = "ORG_USER_MANAGER"

// operator makes the service user. Its ID is chosen, and no device's: what is found
// by its name could be a device that renamed itself.
func (s *FleetSetup) operator(ctx context.Context) error {
	id := s.result.OperatorID
	for _, name := range []string{id, id + "-" + rand.Text()[:8]} {
		_, err := call(ctx, s.api, s.api.client.UserServiceV2().CreateUser, &userapi.CreateUserRequest{
			OrganizationId: s.result.OrganizationID, UserId: &id, Username: &name,
			UserType: &userapi.CreateUserRequest_Machine_{Machine: &userapi.CreateUserRequest_Machine{
				Name: id, AccessTokenType: userapi.AccessTokenType_ACCESS_TOKEN_TYPE_JWT,
			}},
		})
		if err = translate(err, "make the operator's user %q", id); !errors.Is(err, domain.ErrAlreadyExists) {
			return err
		}
		missing, err := s.missingOperator(ctx)
		if err != nil || len(missing) == 0 {
			return err
		}
	}
	return domain.Errorf(domain.ErrConflict, "the operator's user %q cannot be made: its name is taken", id)
}

func (s *FleetSetup) operatorRights(ctx context.Context) error {
	_, err := call(ctx, s.api, s.api.client.InternalPermissionServiceV2().CreateAdministrator, &permissionapi.CreateAdministratorRequest{
		UserId: s.result.OperatorID, Roles: []string{userManager},
		Resource: &permissionapi.ResourceType{Resource: &permissionapi.ResourceType_OrganizationId{OrganizationId: s.result.OrganizationID}},
	})
	return ignore(translate(err, "let the operator manage users"), domain.ErrAlreadyExists)
}

func (s *FleetSetup) operatorRole(ctx context.Context) error {
	_, err := call(ctx, s.api, s.api.client.AuthorizationServiceV2().CreateAuthorization, &authorizationapi.CreateAuthorizationRequest{
		UserId: s.result.OperatorID, ProjectId: s.result.ProjectID, OrganizationId: s.result.OrganizationID, RoleKeys: []string{string(domain.RoleOperator)},
	})
	return ignore(translate(err, "grant the operator its role"), domain.ErrAlreadyExists)
}

// foundOperator returns the organization of the operator's user: false when there
// is no such user.
func (s *FleetSetup) foundOperator(ctx context.Context) (owner string, found bool, err error) {
	id := s.result.OperatorID
	response, err := call(ctx, s.api, s.api.client.UserServiceV2().GetUserByID, &userapi.GetUserByIDRequest{UserId: id})
	if err = translate(err, "the operator's user %q", id); isNotFound(err) {
		return "", false, nil
	}
	return response.GetUser().GetDetails().GetResourceOwner(), err == nil, err
}

func (s *FleetSetup) missingOperator(ctx context.Context) ([]string, error) {
	owner, found, err := s.foundOperator(ctx)
	if err != nil || (found && owner == s.result.OrganizationID) {
		return nil, err
	}
	if found {
		return nil, domain.Errorf(domain.ErrConflict, "user %q belongs to the organization %q: give the fleet another prefix for its user IDs", s.result.OperatorID, owner)
	}
	return []string{"the service user " + s.result.OperatorID}, nil
}

func (s *FleetSetup) missingRight(ctx context.Context) ([]string, error) {
	response, err := call(ctx, s.api, s.api.client.InternalPermissionServiceV2().ListAdministrators, &permissionapi.ListAdministratorsRequest{
		Pagination: &filterapi.PaginationRequest{Limit: pageSize},
		Filters: []*permissionapi.AdministratorSearchFilter{{Filter: &permissionapi.AdministratorSearchFilter_InUserIdsFilter{
			InUserIdsFilter: &filterapi.InIDsFilter{Ids: []string{s.result.OperatorID}},
		}}},
	})
	if err != nil {
		return nil, translate(err, "list the rights of the operator")
	}
	for _, held := range response.GetAdministrators() {
		if held.GetOrganization().GetId() == s.result.OrganizationID && slices.Contains(held.GetRoles(), userManager) {
			return nil, nil
		}
	}
	return []string{userManager}, nil
}

func (s *FleetSetup) missingRole(ctx context.Context) ([]string, error) {
	response, err := call(ctx, s.api, s.api.client.AuthorizationServiceV2().ListAuthorizations, &authorizationapi.ListAuthorizationsRequest{
		Pagination: &filterapi.PaginationRequest{Limit: pageSize},
		Filters: []*authorizationapi.AuthorizationsSearchFilter{{Filter: &authorizationapi.AuthorizationsSearchFilter_InUserIds{
			InUserIds: &filterapi.InIDsFilter{Ids: []string{s.result.OperatorID}},
		}}},
	})
	if err != nil {
		return nil, translate(err, "list the roles of the operator")
	}
	for _, granted := range response.GetAuthorizations() {
		if granted.GetProject().GetId() != s.result.ProjectID {
			continue
		}
		for _, role := range granted.GetRoles() {
			if role.GetKey() == string(domain.RoleOperator) {
				return nil, nil
			}
		}
	}
	return []string{"the role " + string(domain.RoleOperator)}, nil
}

// RemoveOperator removes the operator's user, and with it its key, its right and
// its role. One that is not there is no error.
func (s *FleetSetup) RemoveOperator(ctx context.Context) error {
	if missing, err := s.missingOperator(ctx); err != nil || len(missing) > 0 {
		return err
	}
	_, err := call(ctx, s.api, s.api.client.UserServiceV2().DeleteUser, &userapi.DeleteUserRequest{UserId: s.result.OperatorID})
	if err := translate(err, "remove the operator's user %q", s.result.OperatorID); err != nil && !isNotFound(err) {
		return err
	}
	return await(ctx, s.config.Issuer, func() (bool, error) {
		_, found, err := s.foundOperator(ctx)
		return !found, err
	})
}
