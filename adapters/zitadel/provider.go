package zitadel

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	filterapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	projectapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/project/v2"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/device"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/domain"
)

// Config says where a fleet's identities are, and who manages them. Setup returns
// what goes in here.
type Config struct {
	// Issuer is the provider's URL, exactly as it names itself.
	Issuer         string
	OrganizationID string
	ProjectID      string
	// DevicePrefix maps devices to user IDs.
	DevicePrefix verifier.DevicePrefix
	// Key is that of the operator, a user with ORG_USER_MANAGER in the organization
	// and the role "operator" in the project.
	Key ServiceKey
}

// Options of a ZitadelIdentityProvider. The zero value works.
type Options struct {
	// Client gets tokens; nil for one with the system's authorities. The API is
	// called with the system's in any case.
	Client *http.Client
	// Through is the address, host and port, of a server of the provider that
	// speaks without TLS, such as the end of a forward into a cluster. It is asked
	// in the issuer's name. Empty is the issuer's own address.
	Through string
	// TokenCacheFile keeps the operator's token across restarts; empty keeps it in
	// memory.
	TokenCacheFile string
	// CallTimeout bounds a call of the API; zero is 15s.
	CallTimeout time.Duration
	// Logger is told of what the provider does on its own; nil for none.
	Logger *slog.Logger
}

// ZitadelIdentityProvider manages the identities of a fleet. Safe for concurrent
// use.
type ZitadelIdentityProvider struct {
	config Config
	api    *conn
	tokens *device.TokenSource
	web    *http.Client
	log    *slog.Logger
}

var _ domain.IdentityProvider = (*ZitadelIdentityProvider)(nil)

// New returns a provider that the caller must Close. It talks to nobody yet.
// ErrInvalid when the configuration cannot work.
func New(ctx context.Context, config Config, options Options) (*ZitadelIdentityProvider, error) {
	if config.OrganizationID == "" {
		return nil, domain.Errorf(domain.ErrInvalid, "the organization ID at the identity provider is missing")
	}
	if err := config.DevicePrefix.Validate(); err != nil {
		return nil, err
	}
	if options.Through != "" {
		options.Client = through(config.Issuer, options.Through)
	}
	tokens, err := device.NewTokenSource(device.Config{
		Issuer: config.Issuer, ProjectID: config.ProjectID, UserID: config.Key.UserID, KeyID: config.Key.KeyID,
		Signer: config.Key.Signer, CacheFile: options.TokenCacheFile,
	}, device.Options{Client: options.Client, Logger: options.Logger})
	if err != nil {
		return nil, err
	}
	access, err := apiTokens(config.Issuer, config.Key, options.Client)
	if err != nil {
		return nil, err
	}
	api, err := connect(ctx, config.Issuer, options.Through, access, options.CallTimeout)
	if err != nil {
		return nil, err
	}
	log := options.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &ZitadelIdentityProvider{config: config, api: api, tokens: tokens, web: options.Client, log: log}, nil
}

// Token implements domain.OperatorTokenProvider. The token carries the operator's
// role in the fleet, and no right at Zitadel.
func (p *ZitadelIdentityProvider) Token(ctx context.Context) (domain.Token, error) {
	return p.tokens.Token(ctx)
}

// Check proves that the operator can do its work: Zitadel gives it a token with its
// role, and shows it the fleet's project. It waits for nothing but the lag of what
// was just made.
func (p *ZitadelIdentityProvider) Check(ctx context.Context) error {
	token, err := p.tokens.Token(ctx)
	if err != nil {
		return err
	}
	verify, err := verifier.New(
		verifier.Config{Issuer: p.config.Issuer, ProjectID: p.config.ProjectID, DevicePrefix: p.config.DevicePrefix}, verifier.Options{Client: p.web},
	)
	if err != nil {
		return err
	}
	if _, err := verify.Verify(ctx, token.Value); err != nil {
		return fmt.Errorf("the operator's own token: %w", err)
	}
	response, err := call(ctx, p.api, p.api.client.ProjectServiceV2().ListProjects, &projectapi.ListProjectsRequest{
		Filters: []*projectapi.ProjectSearchFilter{{Filter: &projectapi.ProjectSearchFilter_InProjectIdsFilter{
			InProjectIdsFilter: &filterapi.InIDsFilter{Ids: []string{p.config.ProjectID}},
		}}},
	})
	if err != nil {
		return translate(err, "find the fleet's project as its operator")
	}
	if len(response.GetProjects()) != 1 {
		return domain.Errorf(domain.ErrNotFound, "%s has no project %q for its operator", p.config.Issuer, p.config.ProjectID)
	}
	return nil
}

// Run keeps the operator's token fresh until ctx ends, and returns nil then.
func (p *ZitadelIdentityProvider) Run(ctx context.Context) error { return p.tokens.Run(ctx) }

// Close ends the connection.
func (p *ZitadelIdentityProvider) Close() error { return p.api.close() }
