package engine

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/nationtech/harmony-fleet/domain"
)

// Image is an image on the host.
type Image struct {
	ID          string `json:"Id"`
	RepoTags    []string
	RepoDigests []string
}

// Credentials are those of a registry.
type Credentials struct {
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	ServerAddress string `json:"serveraddress,omitempty"`
}

// PullProgress is one message of a pull. Current and Total are bytes of the
// layer ID, 0 when the engine does not tell them.
type PullProgress struct {
	Layer          string
	Current, Total int64
}

// Image returns an image by reference or ID. ErrNotFound.
func (c *Client) Image(ctx context.Context, ref string) (Image, error) {
	var image Image
	err := c.call(ctx, readTimeout, http.MethodGet, "/images/"+escape(ref)+"/json", nil, nil, &image)
	image.ID = ShortID(image.ID)
	return image, err
}

// ImageByID returns an image by its ID. ErrNotFound. Podman gives no such
// status for an ID when it is asked for the image itself.
func (c *Client) ImageByID(ctx context.Context, id string) (Image, error) {
	var images []Image
	if err := c.call(ctx, readTimeout, http.MethodGet, "/images/json", nil, nil, &images); err != nil {
		return Image{}, err
	}
	for _, image := range images {
		if image.ID = ShortID(image.ID); image.ID == id {
			return image, nil
		}
	}
	return Image{}, domain.Errorf(domain.ErrNotFound, "image %s is not on the host", id)
}

// RemoveImage takes a reference from an image, or removes an image by its ID.
// One that is gone is no error; ErrConflict while it is in use.
func (c *Client) RemoveImage(ctx context.Context, ref string) error {
	return unlessGone(c.call(ctx, changeTimeout, http.MethodDelete, "/images/"+escape(ref), nil, nil, nil))
}

// Pull fetches an image until ctx ends. name is without tag and digest;
// version is the tag or the digest. progress is called for every message.
func (c *Client) Pull(ctx context.Context, name, version string, credentials *Credentials, progress func(PullProgress)) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	header := http.Header{}
	if credentials != nil {
		encoded, err := json.Marshal(credentials)
		if err != nil {
			return fmt.Errorf("encode registry credentials: %w", err)
		}
		header.Set("X-Registry-Auth", base64.URLEncoding.EncodeToString(encoded))
	}
	path := "/v" + info.API + "/images/create"
	response, err := c.send(ctx, http.MethodPost, path, url.Values{"fromImage": {name}, "tag": {version}}, nil, header)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return readPull(ctx, path, response.Body, progress)
}

// readPull reads the messages: a failure after the first byte is one of them.
func readPull(ctx context.Context, path string, body io.Reader, progress func(PullProgress)) error {
	decoder := json.NewDecoder(body)
	for {
		var message struct {
			ID             string `json:"id"`
			Error          string `json:"error"`
			ProgressDetail struct {
				Current int64 `json:"current"`
				Total   int64 `json:"total"`
			} `json:"progressDetail"`
			ErrorDetail struct {
				Message string `json:"message"`
			} `json:"errorDetail"`
		}
		err := decoder.Decode(&message)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return domain.WrapError(domain.ErrUnavailable, err, "the container engine broke off the pull")
		case message.ErrorDetail.Message != "":
			return &Error{Call: "POST " + path, Message: message.ErrorDetail.Message}
		case message.Error != "":
			return &Error{Call: "POST " + path, Message: message.Error}
		}
		progress(PullProgress{Layer: message.ID, Current: message.ProgressDetail.Current, Total: message.ProgressDetail.Total})
	}
}

// ImageUsed reports whether any container, running or not, was made from an
// image itself.
func (c *Client) ImageUsed(ctx context.Context, id string) (bool, error) {
	var found []struct{ ImageID string }
	if err := c.call(ctx, readTimeout, http.MethodGet, "/containers/json", url.Values{"all": {"1"}}, nil, &found); err != nil {
		return false, err
	}
	for _, container := range found {
		if ShortID(container.ImageID) == id {
			return true, nil
		}
	}
	return false, nil
}
