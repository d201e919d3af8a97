package zitadeltest

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	filterapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	metadataapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/metadata/v2"
	objectapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/object/v2"
	userapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"
)

// userService serves users. Its methods are called under the emulator's lock.
type userService struct {
	userapi.UnimplementedUserServiceServer
	e *Emulator
}

func details() *objectapi.Details {
	return &objectapi.Details{ChangeDate: timestamppb.Now(), ResourceOwner: organizationID}
}

// CreateUser implements the API.
func (s *userService) CreateUser(ctx context.Context, r *userapi.CreateUserRequest) (*userapi.CreateUserResponse, error) {
	st := s.e.state
	if err := st.allow(ctx, "", roleOrgOwner, roleUserManager); err != nil {
		return nil, err
	}
	if r.GetOrganizationId() != organizationID || r.GetMachine() == nil || r.GetMachine().GetName() == "" {
		return nil, fail(codes.InvalidArgument, "EMULATOR-user", "organization or machine missing")
	}
	id := r.GetUserId()
	if id == "" {
		id = st.newID()
	}
	username := r.GetUsername()
	if username == "" {
		username = id
	}
	if _, ok := st.Users[id]; ok {
		return nil, fail(codes.FailedPrecondition, "COMMAND-k2una", "User already exists")
	}
	if st.usernameTaken(username) {
		return nil, fail(codes.AlreadyExists, "V3-DKcYh", "Username already taken")
	}
	made := newUser(id, username, time.Now())
	made.Name = r.GetMachine().GetName()
	made.JWT = r.GetMachine().GetAccessTokenType() == userapi.AccessTokenType_ACCESS_TOKEN_TYPE_JWT
	for _, entry := range r.GetMetadata() {
		made.Metadata[entry.GetKey()] = entry.GetValue()
	}
	st.Users[id] = made
	return &userapi.CreateUserResponse{Id: id, CreationDate: timestamppb.New(made.Created)}, nil
}

func (s *state) usernameTaken(name string) bool {
	for _, user := range s.Users {
		if user.Username == name {
			return true
		}
	}
	return false
}

// GetUserByID implements the API.
func (s *userService) GetUserByID(ctx context.Context, r *userapi.GetUserByIDRequest) (*userapi.GetUserByIDResponse, error) {
	if err := s.e.state.allow(ctx, r.GetUserId(), roleOrgOwner, roleUserManager); err != nil {
		return nil, err
	}
	user, ok := s.e.state.Users[r.GetUserId()]
	if !ok {
		return nil, userNotFound()
	}
	state, kind := userapi.UserState_USER_STATE_ACTIVE, userapi.AccessTokenType_ACCESS_TOKEN_TYPE_BEARER
	if user.Inactive {
		state = userapi.UserState_USER_STATE_INACTIVE
	}
	if user.JWT {
		kind = userapi.AccessTokenType_ACCESS_TOKEN_TYPE_JWT
	}
	return &userapi.GetUserByIDResponse{Details: details(), User: &userapi.User{
		UserId: user.ID, Details: details(), State: state, Username: user.Username,
		Type: &userapi.User_Machine{Machine: &userapi.MachineUser{Name: user.Name, HasSecret: user.Secret, AccessTokenType: kind}},
	}}, nil
}

// UpdateUser implements the API: a user can rename itself.
func (s *userService) UpdateUser(ctx context.Context, r *userapi.UpdateUserRequest) (*userapi.UpdateUserResponse, error) {
	st := s.e.state
	if err := st.allow(ctx, r.GetUserId(), roleOrgOwner, roleUserManager); err != nil {
		return nil, err
	}
	user, ok := st.Users[r.GetUserId()]
	if !ok {
		return nil, userNotFound()
	}
	if len(r.GetMetadata()) > 0 {
		if err := st.allow(ctx, "", roleOrgOwner, roleUserManager); err != nil {
			return nil, err
		}
	}
	if name := r.GetUsername(); name != "" && name != user.Username {
		if st.usernameTaken(name) {
			return nil, fail(codes.AlreadyExists, "V3-DKcYh", "Username already taken")
		}
		user.Username = name
	}
	if machine := r.GetMachine(); machine != nil && machine.AccessTokenType != nil {
		user.JWT = machine.GetAccessTokenType() == userapi.AccessTokenType_ACCESS_TOKEN_TYPE_JWT
	}
	for _, entry := range r.GetMetadata() {
		user.Metadata[entry.GetKey()] = entry.GetValue()
	}
	return &userapi.UpdateUserResponse{ChangeDate: timestamppb.Now()}, nil
}

// DeactivateUser implements the API.
func (s *userService) DeactivateUser(ctx context.Context, r *userapi.DeactivateUserRequest) (*userapi.DeactivateUserResponse, error) {
	user, err := s.manage(ctx, r.GetUserId())
	if err != nil {
		return nil, err
	}
	if user.Inactive {
		return nil, fail(codes.FailedPrecondition, "COMMAND-5gunjw0cd7", "User is already deactivated")
	}
	user.Inactive = true
	return &userapi.DeactivateUserResponse{Details: details()}, nil
}

// ReactivateUser implements the API: not for the user itself.
func (s *userService) ReactivateUser(ctx context.Context, r *userapi.ReactivateUserRequest) (*userapi.ReactivateUserResponse, error) {
	user, err := s.manage(ctx, r.GetUserId())
	if err != nil {
		return nil, err
	}
	if !user.Inactive {
		return nil, fail(codes.FailedPrecondition, "COMMAND-s5qqcz97hf", "User is not inactive")
	}
	user.Inactive = false
	return &userapi.ReactivateUserResponse{Details: details()}, nil
}

// DeleteUser implements the API.
func (s *userService) DeleteUser(ctx context.Context, r *userapi.DeleteUserRequest) (*userapi.DeleteUserResponse, error) {
	user, err := s.manage(ctx, r.GetUserId())
	if err != nil {
		return nil, err
	}
	delete(s.e.state.Users, user.ID)
	delete(s.e.state.Admins, user.ID)
	s.e.state.removeGrants(user.ID)
	return &userapi.DeleteUserResponse{Details: details()}, nil
}

// SetUserMetadata implements the API: not for the user itself.
func (s *userService) SetUserMetadata(ctx context.Context, r *userapi.SetUserMetadataRequest) (*userapi.SetUserMetadataResponse, error) {
	user, err := s.manage(ctx, r.GetUserId())
	if err != nil {
		return nil, err
	}
	for _, entry := range r.GetMetadata() {
		user.Metadata[entry.GetKey()] = entry.GetValue()
	}
	return &userapi.SetUserMetadataResponse{SetDate: timestamppb.Now()}, nil
}

// ListUserMetadata implements the API.
func (s *userService) ListUserMetadata(ctx context.Context, r *userapi.ListUserMetadataRequest) (*userapi.ListUserMetadataResponse, error) {
	if err := s.e.state.allow(ctx, r.GetUserId(), roleOrgOwner, roleUserManager); err != nil {
		return nil, err
	}
	var response userapi.ListUserMetadataResponse
	user, ok := s.e.state.Users[r.GetUserId()]
	if ok && !time.Now().Before(user.Created.Add(s.e.lag)) {
		for key, value := range user.Metadata {
			response.Metadata = append(response.Metadata, &metadataapi.Metadata{Key: key, Value: value})
		}
	}
	response.Pagination = &filterapi.PaginationResponse{TotalResult: uint64(len(response.Metadata))}
	return &response, nil
}

// manage returns a user whom the caller may manage.
func (s *userService) manage(ctx context.Context, id string) (*user, error) {
	if err := s.e.state.allow(ctx, "", roleOrgOwner, roleUserManager); err != nil {
		return nil, err
	}
	user, ok := s.e.state.Users[id]
	if !ok {
		return nil, fail(codes.NotFound, "COMMAND-bd4ir1mblj", "User not found")
	}
	return user, nil
}
