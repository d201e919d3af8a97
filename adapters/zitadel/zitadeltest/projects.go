package zitadeltest

import (
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	applicationapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/application/v2"
	authorizationapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/authorization/v2"
	filterapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	permissionapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/internal_permission/v2"
	objectapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/object/v2"
	orgapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/org/v2"
	projectapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/project/v2"
)

// The services below are called under the emulator's lock.

type projectService struct {
	projectapi.UnimplementedProjectServiceServer
	e *Emulator
}

// CreateProject implements the API.
func (s *projectService) CreateProject(ctx context.Context, r *projectapi.CreateProjectRequest) (*projectapi.CreateProjectResponse, error) {
	st := s.e.state
	if err := st.allow(ctx, "", roleOrgOwner); err != nil {
		return nil, err
	}
	for _, other := range st.Projects {
		if other.Name == r.GetName() {
			return nil, fail(codes.AlreadyExists, "V3-DKcYh", "Project already exists")
		}
	}
	made := &project{ID: st.newID(), Name: r.GetName(), Roles: map[string]string{}, Applications: map[string]string{}, Created: time.Now()}
	st.Projects[made.ID] = made
	return &projectapi.CreateProjectResponse{ProjectId: made.ID, CreationDate: timestamppb.Now()}, nil
}

// ListProjects implements the API: it lags.
func (s *projectService) ListProjects(ctx context.Context, r *projectapi.ListProjectsRequest) (*projectapi.ListProjectsResponse, error) {
	if err := s.e.state.allow(ctx, "", roleOrgOwner, roleUserManager); err != nil {
		return nil, err
	}
	var response projectapi.ListProjectsResponse
	seen := time.Now().Add(-s.e.lag)
	for _, id := range slices.Sorted(maps.Keys(s.e.state.Projects)) {
		project := s.e.state.Projects[id]
		wanted := !project.Created.After(seen)
		for _, filter := range r.GetFilters() {
			if byName := filter.GetProjectNameFilter(); byName != nil {
				wanted = wanted && byName.GetMethod() == filterapi.TextFilterMethod_TEXT_FILTER_METHOD_EQUALS && byName.GetProjectName() == project.Name
			}
			if byID := filter.GetInProjectIdsFilter(); byID != nil {
				wanted = wanted && slices.Contains(byID.GetIds(), id)
			}
		}
		if wanted {
			response.Projects = append(response.Projects, &projectapi.Project{ProjectId: id, Name: project.Name, OrganizationId: organizationID})
		}
	}
	response.Projects = page(response.Projects, r.GetPagination())
	return &response, nil
}

// AddProjectRole implements the API.
func (s *projectService) AddProjectRole(ctx context.Context, r *projectapi.AddProjectRoleRequest) (*projectapi.AddProjectRoleResponse, error) {
	if err := s.e.state.allow(ctx, "", roleOrgOwner); err != nil {
		return nil, err
	}
	project, ok := s.e.state.Projects[r.GetProjectId()]
	if !ok {
		return nil, fail(codes.NotFound, "COMMAND-4m9ff", "Project not found")
	}
	if _, ok := project.Roles[r.GetRoleKey()]; ok {
		return nil, fail(codes.AlreadyExists, "V3-DKcYh", "Role already exists")
	}
	project.Roles[r.GetRoleKey()] = r.GetDisplayName()
	s.e.state.making(project.ID + "/" + r.GetRoleKey())
	return &projectapi.AddProjectRoleResponse{CreationDate: timestamppb.Now()}, nil
}

type applicationService struct {
	applicationapi.UnimplementedApplicationServiceServer
	e *Emulator
}

// CreateApplication implements the API, for APIs alone.
func (s *applicationService) CreateApplication(ctx context.Context, r *applicationapi.CreateApplicationRequest) (*applicationapi.CreateApplicationResponse, error) {
	if err := s.e.state.allow(ctx, "", roleOrgOwner); err != nil {
		return nil, err
	}
	project, ok := s.e.state.Projects[r.GetProjectId()]
	if !ok {
		return nil, fail(codes.FailedPrecondition, "COMMAND-4m9ff", "Project not found")
	}
	if r.GetApiConfiguration().GetAuthMethodType() != applicationapi.APIAuthMethodType_API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT {
		return nil, fail(codes.Unimplemented, "EMULATOR-app", "only APIs with a private key")
	}
	for _, name := range project.Applications {
		if name == r.GetName() {
			return nil, fail(codes.AlreadyExists, "V3-DKcYh", "Application already exists")
		}
	}
	id := s.e.state.newID()
	project.Applications[id] = r.GetName()
	s.e.state.making(id)
	return &applicationapi.CreateApplicationResponse{ApplicationId: id, CreationDate: timestamppb.Now()}, nil
}

type authorizationService struct {
	authorizationapi.UnimplementedAuthorizationServiceServer
	e *Emulator
}

// CreateAuthorization implements the API.
func (s *authorizationService) CreateAuthorization(ctx context.Context, r *authorizationapi.CreateAuthorizationRequest) (*authorizationapi.CreateAuthorizationResponse, error) {
	st := s.e.state
	if err := st.allow(ctx, "", roleOrgOwner, roleUserManager); err != nil {
		return nil, err
	}
	if _, ok := st.Users[r.GetUserId()]; !ok {
		return nil, fail(codes.FailedPrecondition, "COMMAND-4M0fs", "User not found")
	}
	project, ok := st.Projects[r.GetProjectId()]
	if !ok || r.GetOrganizationId() != organizationID {
		return nil, fail(codes.FailedPrecondition, "COMMAND-4m9ff", "Project not found")
	}
	for _, role := range r.GetRoleKeys() {
		if _, ok := project.Roles[role]; !ok {
			return nil, fail(codes.FailedPrecondition, "COMMAND-mm9F4", "Role not found")
		}
	}
	for _, other := range st.Grants {
		if other.User == r.GetUserId() && other.Project == project.ID {
			return nil, fail(codes.AlreadyExists, "V3-DKcYh", "Authorization already exists")
		}
	}
	made := &grant{ID: st.newID(), User: r.GetUserId(), Project: project.ID, Roles: r.GetRoleKeys(), Created: time.Now()}
	st.Grants = append(st.Grants, made)
	return &authorizationapi.CreateAuthorizationResponse{Id: made.ID, CreationDate: timestamppb.Now()}, nil
}

func (s *state) removeGrants(user string) {
	s.Grants = slices.DeleteFunc(s.Grants, func(g *grant) bool { return g.User == user })
}

type permissionService struct {
	permissionapi.UnimplementedInternalPermissionServiceServer
	e *Emulator
}

// CreateAdministrator implements the API.
func (s *permissionService) CreateAdministrator(ctx context.Context, r *permissionapi.CreateAdministratorRequest) (*permissionapi.CreateAdministratorResponse, error) {
	st := s.e.state
	if err := st.allow(ctx, "", roleOrgOwner); err != nil {
		return nil, err
	}
	if r.GetResource().GetOrganizationId() != organizationID {
		return nil, fail(codes.Unimplemented, "EMULATOR-admin", "only administrators of the organization")
	}
	if len(st.Admins[r.GetUserId()]) > 0 {
		return nil, fail(codes.AlreadyExists, "V3-DKcYh", "Administrator already exists")
	}
	st.Admins[r.GetUserId()] = r.GetRoles()
	st.making("admin/" + r.GetUserId())
	return &permissionapi.CreateAdministratorResponse{CreationDate: timestamppb.Now()}, nil
}

type orgService struct {
	orgapi.UnimplementedOrganizationServiceServer
	e *Emulator
}

// ListOrganizations implements the API: there is one.
func (s *orgService) ListOrganizations(ctx context.Context, _ *orgapi.ListOrganizationsRequest) (*orgapi.ListOrganizationsResponse, error) {
	if err := s.e.state.allow(ctx, "", roleOrgOwner); err != nil {
		return nil, err
	}
	return &orgapi.ListOrganizationsResponse{
		Details: &objectapi.ListDetails{TotalResult: 1},
		Result:  []*orgapi.Organization{{Id: organizationID, Name: organizationName, PrimaryDomain: primaryDomain, State: orgapi.OrganizationState_ORGANIZATION_STATE_ACTIVE}},
	}, nil
}
