package zitadel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	applicationapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/application/v2"
	authorizationapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/authorization/v2"
	filterapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	permissionapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/internal_permission/v2"
	orgapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/org/v2"
	projectapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/project/v2"
	userapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/device"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	userManager     = "ORG_USER_MANAGER"
	applicationName = "fleet"
	// operatorKeyLifetime is that of the operator's key.
	operatorKeyLifetime = 5 * 365 * 24 * time.Hour
)

// Admin is who may set a fleet up: an owner of the organization, by a personal
// access token or the key of a service user.
type Admin struct {
	AccessToken string
	Key         ServiceKey
}

// SetupConfig says what a fleet is called at Zitadel.
type SetupConfig struct {
	// Issuer is the provider's URL, exactly as it names itself.
	Issuer string
	// OrganizationID is where the fleet's users and project are; empty is the
	// instance's default organization.
	OrganizationID string
	// Project is the name of the fleet's project.
	Project string
	// DevicePrefix maps devices to user IDs.
	DevicePrefix verifier.DevicePrefix
	// NewKey gives the operator a new key even if it has one, which stays valid.
	NewKey bool
}

// SetupOptions of Setup. The zero value works.
type SetupOptions struct {
	// Client gets tokens; nil for one with the system's authorities.
	Client *http.Client
	// CallTimeout bounds a call of the API; zero is 15s.
	CallTimeout time.Duration
}

// SetupResult is what there is now.
type SetupResult struct {
	OrganizationID string
	ProjectID      string
	OperatorID     string
	// Key is the operator's, and nil when it had one: it is shown once.
	Key *ServiceKey
}

// setup is one run of Setup.
type setup struct {
	config SetupConfig
	api    *conn
	result SetupResult
}

// Setup makes what a fleet needs at Zitadel: the project with its roles, the API
// application that verifies its tokens, and the operator, a service user that may
// manage users and nothing else. It is idempotent: what is there stays as it is.
// ErrPermissionDenied when the administrator may not.
func Setup(ctx context.Context, admin Admin, config SetupConfig, options SetupOptions) (result SetupResult, err error) {
	if err := config.DevicePrefix.Validate(); err != nil {
		return SetupResult{}, err
	}
	if config.Project == "" {
		return SetupResult{}, domain.Errorf(domain.ErrInvalid, "the name of the fleet's project is missing")
	}
	var tokens domain.OperatorTokenProvider = patProvider(admin.AccessToken)
	if admin.AccessToken == "" {
		if tokens, err = apiTokens(config.Issuer, admin.Key, options.Client); err != nil {
			return SetupResult{}, err
		}
	}
	api, err := connect(ctx, config.Issuer, tokens, options.CallTimeout)
	if err != nil {
		return SetupResult{}, err
	}
	defer func() { err = errors.Join(err, api.close()) }()
	s := &setup{config: config, api: api, result: SetupResult{OrganizationID: config.OrganizationID, OperatorID: config.DevicePrefix.OperatorID()}}
	for _, step := range []func(context.Context) error{s.organization, s.project, s.roles, s.application, s.operator, s.operatorRights, s.operatorKey} {
		if err := step(ctx); err != nil {
			return SetupResult{}, err
		}
	}
	return s.result, nil
}

func (s *setup) organization(ctx context.Context) error {
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

func (s *setup) project(ctx context.Context) error {
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
func (s *setup) findProject(ctx context.Context) error {
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

func (s *setup) roles(ctx context.Context) error {
	for _, role := range []domain.Role{domain.RoleDevice, domain.RoleOperator, domain.RoleViewer} {
		_, err := call(ctx, s.api, s.api.client.ProjectServiceV2().AddProjectRole, &projectapi.AddProjectRoleRequest{
			ProjectId: s.result.ProjectID, RoleKey: string(role), DisplayName: string(role),
		})
		if err := ignore(translate(err, "add the role %q to the project %q", role, s.config.Project), domain.ErrAlreadyExists); err != nil {
			return err
		}
	}
	return nil
}

func (s *setup) application(ctx context.Context) error {
	_, err := call(ctx, s.api, s.api.client.ApplicationServiceV2().CreateApplication, &applicationapi.CreateApplicationRequest{
		ProjectId: s.result.ProjectID, Name: applicationName,
		ApplicationType: &applicationapi.CreateApplicationRequest_ApiConfiguration{ApiConfiguration: &applicationapi.CreateAPIApplicationRequest{
			AuthMethodType: applicationapi.APIAuthMethodType_API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT,
		}},
	})
	return ignore(translate(err, "make the application of the project %q", s.config.Project), domain.ErrAlreadyExists)
}

// operator makes the service user. Its ID is chosen, and no device's: what is found
// by its name could be a device that renamed itself.
func (s *setup) operator(ctx context.Context) error {
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
		found, err := call(ctx, s.api, s.api.client.UserServiceV2().GetUserByID, &userapi.GetUserByIDRequest{UserId: id})
		if err = translate(err, "the operator's user %q", id); err != nil && !isNotFound(err) {
			return err
		}
		if err == nil {
			if owner := found.GetUser().GetDetails().GetResourceOwner(); owner != s.result.OrganizationID {
				return domain.Errorf(domain.ErrConflict, "user %q belongs to the organization %q: give the fleet another prefix for its user IDs", id, owner)
			}
			return nil
		}
	}
	return domain.Errorf(domain.ErrConflict, "the operator's user %q cannot be made: its name is taken", id)
}

func (s *setup) operatorRights(ctx context.Context) error {
	_, err := call(ctx, s.api, s.api.client.InternalPermissionServiceV2().CreateAdministrator, &permissionapi.CreateAdministratorRequest{
		UserId: s.result.OperatorID, Roles: []string{userManager},
		Resource: &permissionapi.ResourceType{Resource: &permissionapi.ResourceType_OrganizationId{OrganizationId: s.result.OrganizationID}},
	})
	if err := ignore(translate(err, "let the operator manage users"), domain.ErrAlreadyExists); err != nil {
		return err
	}
	_, err = call(ctx, s.api, s.api.client.AuthorizationServiceV2().CreateAuthorization, &authorizationapi.CreateAuthorizationRequest{
		UserId: s.result.OperatorID, ProjectId: s.result.ProjectID, OrganizationId: s.result.OrganizationID, RoleKeys: []string{string(domain.RoleOperator)},
	})
	return ignore(translate(err, "grant the operator its role"), domain.ErrAlreadyExists)
}

// operatorKey makes the operator's key here: Zitadel sees the public half alone.
func (s *setup) operatorKey(ctx context.Context) error {
	if !s.config.NewKey {
		response, err := call(ctx, s.api, s.api.client.UserServiceV2().ListKeys, &userapi.ListKeysRequest{
			Filters: []*userapi.KeysSearchFilter{{Filter: &userapi.KeysSearchFilter_UserIdFilter{UserIdFilter: &filterapi.IDFilter{Id: s.result.OperatorID}}}},
		})
		if err != nil {
			return translate(err, "list the operator's keys")
		}
		for _, key := range response.GetResult() {
			if time.Now().Before(key.GetExpirationDate().AsTime()) {
				return nil
			}
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "make the operator's key")
	}
	public, err := device.PublicKey(private)
	if err != nil {
		return err
	}
	response, err := call(ctx, s.api, s.api.client.UserServiceV2().AddKey, &userapi.AddKeyRequest{
		UserId: s.result.OperatorID, PublicKey: []byte(public), ExpirationDate: timestamppb.New(time.Now().Add(operatorKeyLifetime)),
	})
	if err != nil {
		return translate(err, "register the operator's key")
	}
	s.result.Key = &ServiceKey{UserID: s.result.OperatorID, KeyID: response.GetKeyId(), Signer: private}
	return nil
}
