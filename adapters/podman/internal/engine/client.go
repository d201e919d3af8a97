package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// baseAPI is the version spoken wherever the engine still serves it: Podman
// 4.3 and Docker 20.10 know nothing newer.
const baseAPI = "1.41"

// How long one call may take before the engine counts as not answering.
const (
	// readTimeout is for what the engine answers from memory or its database.
	readTimeout = time.Minute
	// changeTimeout is for what writes to a disk, which may be a slow SD card.
	changeTimeout = 5 * time.Minute
)

// Client talks to the engine behind the first socket that answers. It connects
// when needed and again when the engine was restarted. Safe for concurrent use.
type Client struct {
	find func(context.Context) (string, error)
	http *http.Client

	mu     sync.Mutex
	socket string
	info   Info
}

// New returns a client that asks find for the socket's path whenever it has
// to connect. It does not connect yet.
func New(find func(context.Context) (string, error)) *Client {
	c := &Client{find: find}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: c.dial,
		// Idle connections would keep a socket-activated service alive.
		IdleConnTimeout:     5 * time.Second,
		MaxIdleConnsPerHost: 2,
		DisableCompression:  true,
	}}
	return c
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	socket, err := c.find(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if socket != c.socket {
		c.socket, c.info = socket, Info{}
	}
	c.mu.Unlock()
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", socket)
}

// call does one request and decodes the answer into out, unless it is nil.
func (c *Client) call(ctx context.Context, timeout time.Duration, method, path string, query url.Values, in, out any) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	response, err := c.send(bounded, method, "/v"+info.API+path, query, in, nil)
	if err != nil {
		return late(ctx, err)
	}
	defer drain(response.Body)
	if out == nil {
		return nil
	}
	return late(ctx, decode(path, response.Body, out))
}

// late turns the end of a call's own time into the engine not answering.
func late(caller context.Context, err error) error {
	if err != nil && caller.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return domain.WrapError(domain.ErrUnavailable, err, "the container engine did not answer in time")
	}
	return err
}

func decode(path string, body io.Reader, out any) error {
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "cannot read the container engine's answer to %s", path)
	}
	return nil
}

// send does one request and returns the response of a success, whose body the
// caller closes. A path begins with the version.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, in any, header http.Header) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode the request %s: %w", path, err)
		}
		body = bytes.NewReader(encoded)
	}
	target := url.URL{Scheme: "http", Host: "engine", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("build the request %s: %w", path, err)
	}
	maps.Copy(request.Header, header)
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if response.StatusCode >= http.StatusMultipleChoices && response.StatusCode != http.StatusNotModified {
		defer drain(response.Body)
		return nil, readError(method, path, response)
	}
	return response, nil
}

// unreachable gives the kind ErrUnavailable to what is not the caller's doing,
// and forgets what was known: after a restart it may be another version.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("call the container engine: %w", context.Cause(ctx))
	}
	c.mu.Lock()
	c.info = Info{}
	c.mu.Unlock()
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // the outer text holds the made-up URL
	}
	if errors.Is(err, domain.ErrUnavailable) {
		return err
	}
	return domain.WrapError(domain.ErrUnavailable, err, "cannot reach the container engine")
}

// drain lets the connection be used again after a small rest of a body.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

// escape is for a name or an ID in a path; a reference keeps its slashes.
func escape(name string) string { return strings.TrimPrefix(name, "/") }
