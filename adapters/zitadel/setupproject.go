package zitadel

import (
	"context"
	"errors"

	applicationapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/application/v2"
	filterapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	orgapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/org/v2"
	projectapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/project/v2"

	"github.com/nationtech/harmony-fleet/domain"
)

const applicationName = "fleet"

// fleetRoles are those of a fleet's project.
func fleetRoles() []domain.Role {
	return []domain.Role{domain.RoleDevice, domain.RoleOperator, domain.RoleViewer}
}

func (s *FleetSetup) organization(ctx context.Context) error {
	if s.result.OrganizationID != "" {
		return nil
	}
	response, err := call(ctx, s.api, s.api.client.OrganizationServiceV2().ListOrganizations, &orgapi.ListOrganizationsRequest{
		Queries: []*orgapi.SearchQuery{{Query: &orgapi.SearchQuery_DefaultQuery{DefaultQuery: &orgapi.DefaultOrganizationQuery{}}}},
	})
	if err != nil {
		return translate(err, "find the default organization")
	}
	if len(response.GetResult()) != 1 {
		return domain.Errorf(domain.ErrNotFound, "%s has no default organization: name one", s.config.Issuer)
	}
	s.result.OrganizationID = response.GetResult()[0].GetId()
	return nil
}

func (s *FleetSetup) project(ctx context.Context) error {
	if err := s.findProject(ctx); err != nil || s.result.ProjectID != "" {
		return err
	}
	response, err := call(ctx, s.api, s.api.client.ProjectServiceV2().CreateProject, &projectapi.CreateProjectRequest{
		OrganizationId: s.result.OrganizationID, Name: s.config.Project,
	})
	if err == nil {
		s.result.ProjectID = response.GetProjectId()
		return nil
	}
	err = translate(err, "make the project %q", s.config.Project)
	if !errors.Is(err, domain.ErrAlreadyExists) {
		return err
	}
	// It was made a moment ago, and the list did not show it yet.
	for wait := lagFirst; wait < lagPatience && s.result.ProjectID == ""; wait *= 2 {
		if err := errors.Join(sleep(ctx, wait), s.findProject(ctx)); err != nil {
			return err
		}
	}
	if s.result.ProjectID == "" {
		return err
	}
	return nil
}

// findProject takes the project of that name, if there is one.
func (s *FleetSetup) findProject(ctx context.Context) error {
	response, err := call(ctx, s.api, s.api.client.ProjectServiceV2().ListProjects, &projectapi.ListProjectsRequest{
		Filters: []*projectapi.ProjectSearchFilter{{Filter: &projectapi.ProjectSearchFilter_ProjectNameFilter{ProjectNameFilter: &projectapi.ProjectNameFilter{
			ProjectName: s.config.Project, Method: filterapi.TextFilterMethod_TEXT_FILTER_METHOD_EQUALS,
		}}}},
	})
	if err != nil {
		return translate(err, "find the project %q", s.config.Project)
	}
	for _, project := range response.GetProjects() {
		if project.GetOrganizationId() == s.result.OrganizationID {
			s.result.ProjectID = project.GetProjectId()
			return nil
		}
	}
	return nil
}

func (s *FleetSetup) roles(ctx context.Context) error {
	for _, role := range fleetRoles() {
		_, err := call(ctx, s.api, s.api.client.ProjectServiceV2().AddProjectRole, &projectapi.AddProjectRoleRequest{
			ProjectId: s.result.ProjectID, RoleKey: string(role), DisplayName: string(role),
		})
		if err := ignore(translate(err, "add the role %q to the project %q", role, s.config.Project), domain.ErrAlreadyExists); err != nil {
			return err
		}
	}
	return nil
}

func (s *FleetSetup) application(ctx context.Context) error {
	_, err := call(ctx, s.api, s.api.client.ApplicationServiceV2().CreateApplication, &applicationapi.CreateApplicationRequest{
		ProjectId: s.result.ProjectID, Name: applicationName,
		ApplicationType: &applicationapi.CreateApplicationRequest_ApiConfiguration{ApiConfiguration: &applicationapi.CreateAPIApplicationRequest{
			AuthMethodType: applicationapi.APIAuthMethodType_API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT,
		}},
	})
	return ignore(translate(err, "make the application of the project %q", s.config.Project), domain.ErrAlreadyExists)
}

// missingProject looks again, also for one that was just made.
func (s *FleetSetup) missingProject(ctx context.Context) ([]string, error) {
	s.result.ProjectID = ""
	if err := s.findProject(ctx); err != nil || s.result.ProjectID != "" {
		return nil, err
	}
	return []string{"the project " + s.config.Project}, nil
}

func (s *FleetSetup) missingRoles(ctx context.Context) ([]string, error) {
	there := map[string]bool{}
	if s.result.ProjectID != "" {
		response, err := call(ctx, s.api, s.api.client.ProjectServiceV2().ListProjectRoles, &projectapi.ListProjectRolesRequest{
			ProjectId: s.result.ProjectID, Pagination: &filterapi.PaginationRequest{Limit: pageSize},
		})
		if err != nil {
			return nil, translate(err, "list the roles of the project %q", s.config.Project)
		}
		for _, role := range response.GetProjectRoles() {
			there[role.GetKey()] = true
		}
	}
	var missing []string
	for _, role := range fleetRoles() {
		if !there[string(role)] {
			missing = append(missing, string(role))
		}
	}
	return missing, nil
}

func (s *FleetSetup) missingApplication(ctx context.Context) ([]string, error) {
	if s.result.ProjectID != "" {
		response, err := call(ctx, s.api, s.api.client.ApplicationServiceV2().ListApplications, &applicationapi.ListApplicationsRequest{
			Pagination: &filterapi.PaginationRequest{Limit: pageSize},
			Filters: []*applicationapi.ApplicationSearchFilter{{Filter: &applicationapi.ApplicationSearchFilter_ProjectIdFilter{
				ProjectIdFilter: &applicationapi.ProjectIDFilter{ProjectId: s.result.ProjectID},
			}}},
		})
		if err != nil {
			return nil, translate(err, "list the applications of the project %q", s.config.Project)
		}
		for _, application := range response.GetApplications() {
			if application.GetName() == applicationName {
				return nil, nil
			}
		}
	}
	return []string{"the application " + applicationName}, nil
}
