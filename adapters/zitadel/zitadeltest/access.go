package zitadeltest

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	applicationapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/application/v2"
	authorizationapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/authorization/v2"
	permissionapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/internal_permission/v2"
	orgapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/org/v2"
	projectapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/project/v2"
	userapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"
)

// The roles that a user can hold in the instance or the organization.
const (
	roleInstanceOwner = "IAM_OWNER"
	roleOrgOwner      = "ORG_OWNER"
	roleUserManager   = "ORG_USER_MANAGER"
)

type callerKey struct{}

// newGRPC returns the API.
func (e *Emulator) newGRPC() *grpc.Server {
	server := grpc.NewServer(grpc.UnaryInterceptor(e.authenticate))
	userapi.RegisterUserServiceServer(server, &userService{e: e})
	projectapi.RegisterProjectServiceServer(server, &projectService{e: e})
	applicationapi.RegisterApplicationServiceServer(server, &applicationService{e: e})
	authorizationapi.RegisterAuthorizationServiceServer(server, &authorizationService{e: e})
	permissionapi.RegisterInternalPermissionServiceServer(server, &permissionService{e: e})
	orgapi.RegisterOrganizationServiceServer(server, &orgService{e: e})
	return server
}

// authenticate finds out who calls, under the lock that it holds for the call.
func (e *Emulator) authenticate(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	incoming, _ := metadata.FromIncomingContext(ctx)
	if authority := incoming.Get(":authority"); len(authority) != 1 || !e.named(authority[0]) {
		return nil, fail(codes.NotFound, "QUERY-1kIjX", "Instance not found. Make sure you got the domain right")
	}
	header := incoming.Get("authorization")
	if len(header) != 1 {
		return nil, fail(codes.Unauthenticated, "AUTH-wjT9", "auth header missing")
	}
	token, ok := strings.CutPrefix(header[0], "Bearer ")
	if !ok {
		return nil, fail(codes.Unauthenticated, "AUTH-wjT9", "auth header missing")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	caller, err := e.state.caller(token, e.issuer, time.Now())
	if err != nil {
		return nil, err
	}
	response, err := handle(context.WithValue(ctx, callerKey{}, caller), request)
	if err != nil {
		return nil, err
	}
	if changes(request) {
		if err := e.state.save(e.dir); err != nil {
			return nil, fail(codes.Internal, "EMULATOR-disk", err.Error())
		}
	}
	return response, nil
}

// changes reports whether a request is one that is kept.
func changes(request any) bool {
	switch request.(type) {
	case *userapi.GetUserByIDRequest, *userapi.ListKeysRequest, *userapi.ListPersonalAccessTokensRequest, *userapi.ListUserMetadataRequest,
		*projectapi.ListProjectsRequest, *orgapi.ListOrganizationsRequest, *projectapi.ListProjectRolesRequest,
		*applicationapi.ListApplicationsRequest, *authorizationapi.ListAuthorizationsRequest, *permissionapi.ListAdministratorsRequest:
		return false
	}
	return true
}

// caller returns the ID of the user that a token speaks for at the API.
func (s *state) caller(token, issuer string, now time.Time) (string, error) {
	for _, user := range s.Users {
		if strings.Contains(token, ".") {
			break // a JWT
		}
		for _, access := range user.AccessTokens {
			if access.Content == token && access.usable(now) && !user.Inactive {
				return user.ID, nil
			}
		}
	}
	subject, audience, ok := s.readToken(token, issuer, now)
	if !ok {
		return "", fail(codes.Unauthenticated, "AUTH-7fs1e", "Token is invalid")
	}
	if !slices.Contains(audience, apiProject) {
		return "", fail(codes.Unauthenticated, "AUTH-7fs1e", "Token is invalid")
	}
	if user, ok := s.Users[subject]; !ok || user.Inactive {
		return "", fail(codes.Unauthenticated, "AUTH-7fs1e", "Token is invalid")
	}
	return subject, nil
}

// allow checks that the caller holds one of the roles, or is the user itself.
func (s *state) allow(ctx context.Context, self string, roles ...string) error {
	caller, _ := ctx.Value(callerKey{}).(string)
	held := s.Admins[caller]
	switch {
	case self != "" && caller == self, slices.ContainsFunc(held, func(role string) bool { return role == roleInstanceOwner || slices.Contains(roles, role) }):
		return nil
	case len(held) == 0:
		return noMembership()
	default:
		return noPermission()
	}
}
