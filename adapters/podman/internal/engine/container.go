package engine

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// The shapes below are those of the API, reduced to what is used.

// Spec is the body of a create call.
type Spec struct {
	Image        string
	Entrypoint   []string `json:",omitempty"`
	Cmd          []string `json:",omitempty"`
	Env          []string `json:",omitempty"`
	User         string   `json:",omitempty"`
	Labels       map[string]string
	StopSignal   string
	StopTimeout  int
	Healthcheck  *Healthcheck        `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
	HostConfig   HostConfig
}

// Healthcheck is a command with times in nanoseconds.
type Healthcheck struct {
	Test        []string
	Interval    time.Duration
	Timeout     time.Duration
	StartPeriod time.Duration
	Retries     int
}

// HostConfig is what the host gives to a container.
type HostConfig struct {
	Binds          []string                 `json:",omitempty"`
	Tmpfs          map[string]string        `json:",omitempty"`
	PortBindings   map[string][]PortBinding `json:",omitempty"`
	RestartPolicy  RestartPolicy
	CapAdd         []string `json:",omitempty"`
	CapDrop        []string `json:",omitempty"`
	SecurityOpt    []string `json:",omitempty"`
	ReadonlyRootfs bool
	NanoCPUs       int64      `json:"NanoCpus,omitempty"`
	Memory         int64      `json:",omitempty"`
	PidsLimit      int64      `json:",omitempty"`
	LogConfig      *LogConfig `json:",omitempty"`
}

// PortBinding is an address of the host.
type PortBinding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

// RestartPolicy is "always", "on-failure" or "no".
type RestartPolicy struct{ Name string }

// LogConfig chooses where output goes and how much of it is kept.
type LogConfig struct {
	Type   string
	Config map[string]string
}

// Container is what an engine tells of a container.
type Container struct {
	ID           string `json:"Id"`
	Name         string
	Image        string // the image's ID
	RestartCount uint64
	State        State
	Config       struct {
		Labels      map[string]string
		StopTimeout *int
		Env         []string
	}
	HostConfig struct {
		RestartPolicy RestartPolicy
		Memory        int64
	}
}

// State is a container's state. Status is one of created, initialized,
// running, paused, restarting, removing, exited, stopped, stopping, dead.
type State struct {
	Status     string
	ExitCode   int
	OOMKilled  bool
	Error      string
	Pid        int
	StartedAt  time.Time
	FinishedAt time.Time
	Health     *struct{ Status string }
}

// Started reports whether the container ever ran.
func (s State) Started() bool { return s.StartedAt.Year() > 1970 }

// Running reports whether its main process is alive.
func (s State) Running() bool {
	return s.Status == "running" || s.Status == "paused" || s.Status == "stopping"
}

// IDs returns the containers that carry all labels, running or not.
func (c *Client) IDs(ctx context.Context, labels ...string) ([]string, error) {
	var found []struct {
		ID string `json:"Id"`
	}
	query := url.Values{"all": {"1"}, "filters": {filters(map[string][]string{"label": labels})}}
	if err := c.call(ctx, readTimeout, http.MethodGet, "/containers/json", query, nil, &found); err != nil {
		return nil, err
	}
	ids := make([]string, len(found))
	for i, container := range found {
		ids[i] = container.ID
	}
	return ids, nil
}

func filters(by map[string][]string) string {
	encoded, _ := json.Marshal(by) // a map of strings always encodes
	return string(encoded)
}

// Inspect returns a container by its ID or name. ErrNotFound.
func (c *Client) Inspect(ctx context.Context, id string) (Container, error) {
	var container Container
	err := c.call(ctx, readTimeout, http.MethodGet, "/containers/"+escape(id)+"/json", nil, nil, &container)
	container.Name = strings.TrimPrefix(container.Name, "/")
	container.Image = ShortID(container.Image)
	return container, err
}

// ShortID drops the algorithm, which engines write or leave out.
func ShortID(id string) string { return strings.TrimPrefix(id, "sha256:") }

// Create makes a container without starting it and returns its ID.
func (c *Client) Create(ctx context.Context, name string, spec Spec) (string, error) {
	var created struct {
		ID string `json:"Id"`
	}
	err := c.call(ctx, changeTimeout, http.MethodPost, "/containers/create", url.Values{"name": {name}}, spec, &created)
	return created.ID, err
}

// Start starts a container; one that runs already is no error.
func (c *Client) Start(ctx context.Context, id string) error {
	return c.call(ctx, changeTimeout, http.MethodPost, "/containers/"+escape(id)+"/start", nil, nil, nil)
}

// Stop sends the stop signal, waits for the grace period, then kills. A
// container that does not run, or is gone, is no error.
func (c *Client) Stop(ctx context.Context, id string, grace time.Duration) error {
	seconds := int(grace.Round(time.Second) / time.Second)
	query := url.Values{"t": {strconv.Itoa(seconds)}}
	err := c.call(ctx, grace+changeTimeout, http.MethodPost, "/containers/"+escape(id)+"/stop", query, nil, nil)
	return unlessGone(err)
}

// Remove removes a container and its anonymous volumes, by force. One that is
// gone is no error.
func (c *Client) Remove(ctx context.Context, id string) error {
	query := url.Values{"force": {"1"}, "v": {"1"}}
	return unlessGone(c.call(ctx, changeTimeout, http.MethodDelete, "/containers/"+escape(id), query, nil, nil))
}

func unlessGone(err error) error {
	if errors.Is(err, domain.ErrNotFound) {
		return nil
	}
	return err
}

// Rename gives a container another name.
func (c *Client) Rename(ctx context.Context, id, name string) error {
	return c.call(ctx, changeTimeout, http.MethodPost, "/containers/"+escape(id)+"/rename", url.Values{"name": {name}}, nil, nil)
}

// Wait blocks until a container does not run, or ctx ends.
func (c *Client) Wait(ctx context.Context, id string) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	query := url.Values{"condition": {"not-running"}}
	response, err := c.send(ctx, http.MethodPost, "/v"+info.API+"/containers/"+escape(id)+"/wait", query, nil, nil)
	if err != nil {
		return err
	}
	defer drain(response.Body)
	var result struct{ StatusCode int }
	if err := decode("wait", response.Body, &result); err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	} else if err != nil {
		return err
	}
	return nil
}
