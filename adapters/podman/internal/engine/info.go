package engine

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// The products that are told apart.
const (
	Podman = "podman"
	Docker = "docker"
)

// Info says which engine answers.
type Info struct {
	// Product is Podman or Docker.
	Product string
	Version string
	// API is the version of the Docker-compatible API that is spoken.
	API string
	// Socket is the path of the engine's socket.
	Socket string
	// LogDriver is where the engine writes containers' output by default; empty
	// when it does not tell.
	LogDriver string
}

// Known returns what was learned at the last connection, without asking.
func (c *Client) Known() (Info, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info, c.info.API != ""
}

// Info returns which engine answers, asking it when that is not known.
// ErrUnavailable when none does.
func (c *Client) Info(ctx context.Context) (Info, error) {
	if info, ok := c.Known(); ok {
		return info, nil
	}
	bounded, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	info, err := c.ask(bounded)
	if err != nil {
		return Info{}, late(ctx, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	info.Socket = c.socket
	c.info = info
	return info, nil
}

func (c *Client) ask(ctx context.Context) (Info, error) {
	var version struct {
		Version       string
		APIVersion    string `json:"ApiVersion"`
		MinAPIVersion string
		Components    []struct{ Name string }
	}
	// The path without a version is served by every engine.
	response, err := c.send(ctx, http.MethodGet, "/version", nil, nil, nil)
	if err != nil {
		return Info{}, err
	}
	defer drain(response.Body)
	if err := decode("/version", response.Body, &version); err != nil {
		return Info{}, err
	}
	info := Info{Product: Docker, Version: version.Version, API: baseAPI}
	for _, component := range version.Components {
		if strings.HasPrefix(component.Name, "Podman") {
			info.Product = Podman
		}
	}
	if newer(version.MinAPIVersion, baseAPI) && info.Product == Docker {
		info.API = version.MinAPIVersion
	}
	info.LogDriver, err = c.logDriver(ctx, info)
	if _, refused := errors.AsType[*Error](err); refused {
		return info, nil // an engine that does not tell it can be used as well
	}
	return info, err
}

// logDriver asks where output goes. Podman tells only through its own API.
func (c *Client) logDriver(ctx context.Context, info Info) (string, error) {
	path := "/v" + info.API + "/info"
	if info.Product == Podman {
		path = "/v4.0.0/libpod/info"
	}
	response, err := c.send(ctx, http.MethodGet, path, nil, nil, nil)
	if err != nil {
		return "", err
	}
	defer drain(response.Body)
	var answer struct {
		LoggingDriver string
		Host          struct {
			LogDriver string `json:"logDriver"`
		} `json:"host"`
	}
	if err := decode(path, response.Body, &answer); err != nil {
		return "", err
	}
	return answer.LoggingDriver + answer.Host.LogDriver, nil
}

// newer reports whether the API version a, such as "1.44", is above b.
func newer(a, b string) bool {
	aMajor, aMinor := splitVersion(a)
	bMajor, bMinor := splitVersion(b)
	return aMajor > bMajor || aMajor == bMajor && aMinor > bMinor
}

func splitVersion(v string) (major, minor int) {
	first, second, _ := strings.Cut(v, ".")
	major, _ = strconv.Atoi(first)
	minor, _ = strconv.Atoi(second)
	return major, minor
}
