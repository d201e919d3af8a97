package zitadeltest

import (
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	applicationapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/application/v2"
	authorizationapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/authorization/v2"
	filterapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	permissionapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/internal_permission/v2"
	projectapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/project/v2"
)

// The lists below lag, as those of users and projects do.

// shown reports whether lists show yet what was made.
func (e *Emulator) shown(id string) bool {
	return !e.state.Made[id].After(time.Now().Add(-e.lag))
}

func total(n int) *filterapi.PaginationResponse {
	return &filterapi.PaginationResponse{TotalResult: uint64(n)} //nolint:gosec // the length of a list
}

// ListProjectRoles implements the API.
func (s *projectService) ListProjectRoles(ctx context.Context, r *projectapi.ListProjectRolesRequest) (*projectapi.ListProjectRolesResponse, error) {
	if err := s.e.state.allow(ctx, "", roleOrgOwner, roleUserManager); err != nil {
		return nil, err
	}
	var response projectapi.ListProjectRolesResponse
	if project, ok := s.e.state.Projects[r.GetProjectId()]; ok {
		for _, key := range slices.Sorted(maps.Keys(project.Roles)) {
			if s.e.shown(project.ID + "/" + key) {
				response.ProjectRoles = append(response.ProjectRoles, &projectapi.ProjectRole{ProjectId: project.ID, Key: key, DisplayName: project.Roles[key]})
			}
		}
	}
	response.Pagination = total(len(response.ProjectRoles))
	response.ProjectRoles = page(response.ProjectRoles, r.GetPagination())
	return &response, nil
}

// ListApplications implements the API, by project alone.
func (s *applicationService) ListApplications(ctx context.Context, r *applicationapi.ListApplicationsRequest) (*applicationapi.ListApplicationsResponse, error) {
	if err := s.e.state.allow(ctx, "", roleOrgOwner); err != nil {
		return nil, err
	}
	var response applicationapi.ListApplicationsResponse
	for _, filter := range r.GetFilters() {
		byProject := filter.GetProjectIdFilter()
		if byProject == nil {
			return nil, fail(codes.Unimplemented, "EMULATOR-list", "only by project")
		}
		project, ok := s.e.state.Projects[byProject.GetProjectId()]
		if !ok {
			continue
		}
		for _, id := range slices.Sorted(maps.Keys(project.Applications)) {
			if s.e.shown(id) {
				response.Applications = append(response.Applications, &applicationapi.Application{ApplicationId: id, Name: project.Applications[id], ProjectId: project.ID})
			}
		}
	}
	response.Pagination = total(len(response.Applications))
	response.Applications = page(response.Applications, r.GetPagination())
	return &response, nil
}

// ListAuthorizations implements the API, by user alone.
func (s *authorizationService) ListAuthorizations(ctx context.Context, r *authorizationapi.ListAuthorizationsRequest) (*authorizationapi.ListAuthorizationsResponse, error) {
	if err := s.e.state.allow(ctx, "", roleOrgOwner, roleUserManager); err != nil {
		return nil, err
	}
	var response authorizationapi.ListAuthorizationsResponse
	for _, filter := range r.GetFilters() {
		if filter.GetInUserIds() == nil {
			return nil, fail(codes.Unimplemented, "EMULATOR-list", "only by user")
		}
		for _, granted := range s.e.state.Grants {
			if !slices.Contains(filter.GetInUserIds().GetIds(), granted.User) || granted.Created.After(time.Now().Add(-s.e.lag)) {
				continue
			}
			listed := &authorizationapi.Authorization{
				Id: granted.ID, Project: &authorizationapi.Project{Id: granted.Project, OrganizationId: organizationID},
				Organization: &authorizationapi.Organization{Id: organizationID}, User: &authorizationapi.User{Id: granted.User},
				State: authorizationapi.State_STATE_ACTIVE,
			}
			for _, role := range granted.Roles {
				listed.Roles = append(listed.Roles, &authorizationapi.Role{Key: role})
			}
			response.Authorizations = append(response.Authorizations, listed)
		}
	}
	response.Pagination = total(len(response.Authorizations))
	response.Authorizations = page(response.Authorizations, r.GetPagination())
	return &response, nil
}

// ListAdministrators implements the API, by user alone.
func (s *permissionService) ListAdministrators(ctx context.Context, r *permissionapi.ListAdministratorsRequest) (*permissionapi.ListAdministratorsResponse, error) {
	if err := s.e.state.allow(ctx, "", roleOrgOwner); err != nil {
		return nil, err
	}
	var response permissionapi.ListAdministratorsResponse
	for _, filter := range r.GetFilters() {
		if filter.GetInUserIdsFilter() == nil {
			return nil, fail(codes.Unimplemented, "EMULATOR-list", "only by user")
		}
		for _, user := range filter.GetInUserIdsFilter().GetIds() {
			roles := s.e.state.Admins[user]
			if len(roles) == 0 || !s.e.shown("admin/"+user) {
				continue
			}
			listed := &permissionapi.Administrator{User: &permissionapi.User{Id: user, OrganizationId: organizationID}, Roles: roles}
			if slices.Contains(roles, roleInstanceOwner) {
				listed.Resource = &permissionapi.Administrator_Instance{Instance: true}
			} else {
				listed.Resource = &permissionapi.Administrator_Organization{Organization: &permissionapi.Organization{Id: organizationID}}
			}
			response.Administrators = append(response.Administrators, listed)
		}
	}
	response.Pagination = total(len(response.Administrators))
	response.Administrators = page(response.Administrators, r.GetPagination())
	return &response, nil
}
