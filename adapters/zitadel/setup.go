package zitadel

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/domain"
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
	// Client gets tokens; nil for one with the system's authorities. It is not
	// used with Through.
	Client *http.Client
	// Through is the address, host and port, of a server of the provider that
	// speaks without TLS, such as the end of a forward into a cluster. It is asked
	// in the issuer's name. Empty is the issuer's own address.
	Through string
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

// Setup makes what a fleet needs at Zitadel: the project with its roles, the API
// application that verifies its tokens, and the operator, a service user that may
// manage users and nothing else. It is idempotent: what is there stays as it is.
// ErrPermissionDenied when the administrator may not.
func Setup(ctx context.Context, admin Admin, config SetupConfig, options SetupOptions) (result SetupResult, err error) {
	s, err := OpenSetup(ctx, admin, config, options)
	if err != nil {
		return SetupResult{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, step := range []func(context.Context) error{s.organization, s.project, s.roles, s.application, s.operator, s.operatorRights, s.operatorRole, s.firstKey} {
		if err := step(ctx); err != nil {
			return SetupResult{}, err
		}
	}
	return s.result, nil
}

// FleetSetup is what Setup does, part by part, for those who look before they make
// something. It is not for concurrent use.
type FleetSetup struct {
	config  SetupConfig
	options SetupOptions
	api     *conn
	result  SetupResult
}

// OpenSetup returns a FleetSetup that the caller must Close. It talks to nobody
// yet. ErrInvalid when the configuration cannot work.
func OpenSetup(ctx context.Context, admin Admin, config SetupConfig, options SetupOptions) (*FleetSetup, error) {
	if err := config.DevicePrefix.Validate(); err != nil {
		return nil, err
	}
	if config.Project == "" {
		return nil, domain.Errorf(domain.ErrInvalid, "the name of the fleet's project is missing")
	}
	if options.Through != "" {
		options.Client = through(config.Issuer, options.Through)
	}
	var tokens domain.OperatorTokenProvider = patProvider(admin.AccessToken)
	if admin.AccessToken == "" {
		var err error
		if tokens, err = apiTokens(config.Issuer, admin.Key, options.Client); err != nil {
			return nil, err
		}
	}
	api, err := connect(ctx, config.Issuer, options.Through, tokens, options.CallTimeout)
	if err != nil {
		return nil, err
	}
	return &FleetSetup{
		config: config, options: options, api: api,
		result: SetupResult{OrganizationID: config.OrganizationID, OperatorID: config.DevicePrefix.OperatorID()},
	}, nil
}

// Close ends the connection.
func (s *FleetSetup) Close() error { return s.api.close() }

// Find returns the IDs of what is there: that of the project is empty when there
// is none yet.
func (s *FleetSetup) Find(ctx context.Context) (SetupResult, error) {
	if err := s.organization(ctx); err != nil {
		return SetupResult{}, err
	}
	if s.result.ProjectID == "" {
		if err := s.findProject(ctx); err != nil {
			return SetupResult{}, err
		}
	}
	return s.result, nil
}
