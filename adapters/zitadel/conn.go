package zitadel

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/zitadel/zitadel-go/v3/pkg/client"
	"github.com/zitadel/zitadel-go/v3/pkg/zitadel"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/device"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// defaultCallTimeout bounds a call, with the wait for a server that restarts.
	defaultCallTimeout = 15 * time.Second
	// reconnectMax is the longest wait between two attempts to connect.
	reconnectMax = 2 * time.Second
	// callRetries is how often a call is made again that was cut off.
	callRetries = 2
)

// conn is a connection to Zitadel's API, as one user.
type conn struct {
	client  *client.Client
	tokens  domain.OperatorTokenProvider
	timeout time.Duration
}

// patProvider is a personal access token. It says nothing about its expiry.
type patProvider string

func (p patProvider) Token(context.Context) (domain.Token, error) {
	return domain.Token{Value: string(p)}, nil
}

// connect does not block.
func connect(ctx context.Context, issuer string, tokens domain.OperatorTokenProvider, timeout time.Duration) (*conn, error) {
	parsed, err := url.Parse(issuer)
	if err != nil || parsed.Hostname() == "" || (parsed.Scheme != "https" && parsed.Scheme != "http") || parsed.Path != "" {
		return nil, domain.Errorf(domain.ErrInvalid, `issuer %q is not a URL such as "https://id.example.com", without a slash at its end`, issuer)
	}
	var options []zitadel.Option
	if parsed.Scheme == "http" {
		options = append(options, zitadel.WithInsecure(cmp.Or(parsed.Port(), "80")))
	} else if port := parsed.Port(); port != "" {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, domain.Errorf(domain.ErrInvalid, "issuer %q has no valid port", issuer)
		}
		options = append(options, zitadel.WithPort(uint16(number)))
	}
	api, err := client.New(ctx, zitadel.New(parsed.Hostname(), options...), client.WithGRPCDialOptions(
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectMax},
			MinConnectTimeout: 5 * time.Second,
		}),
		// A server that restarts is waited for, as long as a call may take.
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
	))
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "connection to %s", issuer)
	}
	return &conn{client: api, tokens: tokens, timeout: cmp.Or(timeout, defaultCallTimeout)}, nil
}

func (c *conn) close() error { return c.client.Close() }

// call makes one call with the user's token, which the SDK would get anew for each.
// A call that was cut off is made again: the connection of a server that restarted
// fails the first call on it. So what is called must bear being done twice.
func call[Request, Response any](ctx context.Context, c *conn, do func(context.Context, Request, ...grpc.CallOption) (Response, error), request Request) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	token, err := c.tokens.Token(ctx)
	if err != nil {
		var none Response
		return none, err
	}
	ctx = client.BearerTokenCtx(ctx, token.Value)
	response, err := do(ctx, request)
	for attempt := 0; attempt < callRetries && status.Code(err) == codes.Unavailable && ctx.Err() == nil; attempt++ {
		response, err = do(ctx, request)
	}
	return response, err
}

// apiTokens gets tokens for Zitadel's own API with the key of a service user.
func apiTokens(issuer string, key ServiceKey, web *http.Client) (domain.OperatorTokenProvider, error) {
	return device.NewTokenSource(
		device.Config{Issuer: issuer, UserID: key.UserID, KeyID: key.KeyID, Signer: key.Signer},
		device.Options{Client: web, Scopes: []string{client.ScopeZitadelAPI()}, NoProject: true},
	)
}
