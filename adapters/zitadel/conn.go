package zitadel

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
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

// connect does not block. The address of a server to go through can be empty.
func connect(ctx context.Context, issuer, through string, tokens domain.OperatorTokenProvider, timeout time.Duration) (*conn, error) {
	parsed, err := url.Parse(issuer)
	if err != nil || parsed.Hostname() == "" || (parsed.Scheme != "https" && parsed.Scheme != "http") || parsed.Path != "" {
		return nil, domain.Errorf(domain.ErrInvalid, `issuer %q is not a URL such as "https://id.example.com", without a slash at its end`, issuer)
	}
	host, options := parsed.Hostname(), []zitadel.Option(nil)
	var dial []grpc.DialOption
	if through != "" {
		var port string
		if host, port, err = net.SplitHostPort(through); err != nil {
			return nil, domain.Errorf(domain.ErrInvalid, "%q is not the host and port of a server of %s", through, issuer)
		}
		options = append(options, zitadel.WithInsecure(port))
		// A server knows what it is asked for by the name.
		dial = append(dial, grpc.WithAuthority(parsed.Host))
	} else if parsed.Scheme == "http" {
		options = append(options, zitadel.WithInsecure(cmp.Or(parsed.Port(), "80")))
	} else if port := parsed.Port(); port != "" {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, domain.Errorf(domain.ErrInvalid, "issuer %q has no valid port", issuer)
		}
		options = append(options, zitadel.WithPort(uint16(number)))
	}
	dial = append(dial,
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectMax},
			MinConnectTimeout: 5 * time.Second,
		}),
		// A server that restarts is waited for, as long as a call may take.
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
	)
	api, err := client.New(ctx, zitadel.New(host, options...), client.WithGRPCDialOptions(dial...))
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
	return attempts(ctx, c, callRetries, do, request)
}

// once makes one call that must not be made twice.
func once[Request, Response any](ctx context.Context, c *conn, do func(context.Context, Request, ...grpc.CallOption) (Response, error), request Request) (Response, error) {
	return attempts(ctx, c, 0, do, request)
}

func attempts[Request, Response any](ctx context.Context, c *conn, retries int, do func(context.Context, Request, ...grpc.CallOption) (Response, error), request Request) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	token, err := c.tokens.Token(ctx)
	if err != nil {
		var none Response
		return none, err
	}
	ctx = client.BearerTokenCtx(ctx, token.Value)
	response, err := do(ctx, request)
	for attempt := 0; attempt < retries && status.Code(err) == codes.Unavailable && ctx.Err() == nil; attempt++ {
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

// through is a client that asks a server of the provider, without TLS, in the
// provider's name.
func through(issuer, address string) *http.Client {
	secure := strings.HasPrefix(issuer, "https://")
	return &http.Client{Timeout: defaultCallTimeout, Transport: &tunnel{
		transport: &http.Transport{DisableKeepAlives: true}, address: address, secure: secure,
	}}
}

// tunnel sends requests to an address, whatever their host.
type tunnel struct {
	transport *http.Transport
	address   string
	secure    bool
}

// RoundTrip implements http.RoundTripper.
func (t *tunnel) RoundTrip(request *http.Request) (*http.Response, error) {
	sent := request.Clone(request.Context())
	if sent.Host == "" {
		sent.Host = request.URL.Host
	}
	sent.URL.Scheme, sent.URL.Host = "http", t.address
	if t.secure { // as it is told by a proxy that ends TLS
		sent.Header.Set("X-Forwarded-Proto", "https")
	}
	return t.transport.RoundTrip(sent)
}
