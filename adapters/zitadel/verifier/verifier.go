package verifier

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/nationtech/harmony-fleet/domain"
)

// maxToken bounds a token.
const maxToken = 16 << 10

// Config says whose tokens are good, and for what.
type Config struct {
	// Issuer is the provider's URL, exactly as it names itself.
	Issuer string
	// ProjectID is the fleet's project: only its roles count.
	ProjectID string
	// DevicePrefix maps devices to subjects.
	DevicePrefix DevicePrefix
}

// Options of a Verifier. The zero value works.
type Options struct {
	// Client fetches the keys; nil for one with the system's authorities.
	Client *http.Client
	// CacheFile keeps the provider's keys across restarts, so that tokens are
	// verified while the provider is away; empty keeps them in memory. Whoever can
	// write it can make tokens.
	CacheFile string
	// Logger is told of keys that cannot be fetched by Run or kept; nil for none.
	Logger *slog.Logger
}

// Verifier checks access tokens. Safe for concurrent use.
type Verifier struct {
	issuer string
	prefix DevicePrefix
	roles  string // the name of the claim
	set    *keySet
}

var _ domain.TokenVerifier = (*Verifier)(nil)

// New returns a verifier that talks to nobody yet. ErrInvalid when the
// configuration cannot work.
func New(config Config, options Options) (*Verifier, error) {
	issuer, err := url.Parse(config.Issuer)
	if err != nil || issuer.Host == "" || (issuer.Scheme != "https" && issuer.Scheme != "http") || issuer.Path != "" {
		return nil, domain.Errorf(domain.ErrInvalid, `issuer %q is not a URL such as "https://id.example.com", without a slash at its end`, config.Issuer)
	}
	if config.ProjectID == "" {
		return nil, domain.Errorf(domain.ErrInvalid, "the project ID at the identity provider is missing")
	}
	if err := config.DevicePrefix.Validate(); err != nil {
		return nil, err
	}
	client := options.Client
	if client == nil {
		client = &http.Client{}
	}
	log := options.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	set := &keySet{issuer: config.Issuer, file: options.CacheFile, client: client, log: log, fetching: make(chan struct{}, 1)}
	set.load()
	return &Verifier{
		issuer: config.Issuer, prefix: config.DevicePrefix, set: set,
		roles: "urn:zitadel:iam:org:project:" + config.ProjectID + ":roles",
	}, nil
}

// Run keeps the provider's keys fresh until ctx ends, and returns nil then. Without
// it, keys are only fetched when a token names one that is not known, and one that
// the provider withdrew is believed until the verifier is made anew.
func (v *Verifier) Run(ctx context.Context) error {
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	for {
		if err := v.set.refresh(ctx); err != nil && ctx.Err() == nil {
			v.set.log.WarnContext(ctx, "the identity provider's keys could not be refreshed; the known ones stay in use", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// algorithms are those that Zitadel can sign with. None uses a shared secret.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}
}

// Verify implements domain.TokenVerifier. What a user can change of itself is not
// looked at: neither its name ("client_id"), nor the audience, which holds
// whatever was asked for.
func (v *Verifier) Verify(ctx context.Context, token string) (domain.Principal, error) {
	if len(token) > maxToken {
		return domain.Principal{}, domain.Errorf(domain.ErrUnauthenticated, "the token is larger than %d bytes", maxToken)
	}
	signed, err := jose.ParseSignedCompact(token, algorithms())
	if err != nil || len(signed.Signatures) != 1 { // the cause can quote the token
		return domain.Principal{}, domain.Errorf(domain.ErrUnauthenticated, "the token is not a signed JWT: the user's access token type at the identity provider must be JWT")
	}
	header := signed.Signatures[0].Header
	if header.KeyID == "" {
		return domain.Principal{}, domain.Errorf(domain.ErrUnauthenticated, "the token does not name the key that signed it")
	}
	key, err := v.set.find(ctx, header.KeyID)
	if err != nil {
		return domain.Principal{}, err
	}
	if key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return domain.Principal{}, domain.Errorf(domain.ErrUnauthenticated, "the token is signed in another way than its key is for")
	}
	payload, err := signed.Verify(key.Key)
	if err != nil {
		return domain.Principal{}, domain.Errorf(domain.ErrUnauthenticated, "the token's signature is wrong")
	}
	return v.principal(payload, time.Now())
}
