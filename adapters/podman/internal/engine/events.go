package engine

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// Event is something that happened to a container. Names of actions differ
// between engines.
type Event struct {
	Action string
	Labels map[string]string
}

// Events calls ready once it listens, then handle for every event of the
// containers that carry all labels. It blocks; it returns ErrUnavailable when
// the engine ends the stream, and ctx's cause after ctx ended.
func (c *Client) Events(ctx context.Context, labels []string, ready func(), handle func(Event)) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	query := url.Values{"filters": {filters(map[string][]string{"type": {"container"}, "label": labels})}}
	response, err := c.send(ctx, http.MethodGet, "/v"+info.API+"/events", query, nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	ready()
	decoder := json.NewDecoder(response.Body)
	for {
		var event struct {
			Action string
			Actor  struct{ Attributes map[string]string }
		}
		if err := decoder.Decode(&event); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return domain.WrapError(domain.ErrUnavailable, err, "the container engine ended the events")
		}
		handle(Event{Action: event.Action, Labels: event.Actor.Attributes})
	}
}

// LastExit returns the exit code of a container's last end since a time, as
// the engine's own log of events has it; false when it does not.
func (c *Client) LastExit(ctx context.Context, id string, since time.Time) (int, bool, error) {
	info, err := c.Info(ctx)
	if err != nil {
		return 0, false, err
	}
	bounded, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	query := url.Values{
		"filters": {filters(map[string][]string{"type": {"container"}, "container": {id}})},
		"since":   {strconv.FormatInt(since.Unix(), 10)}, "until": {strconv.FormatInt(time.Now().Unix()+1, 10)},
	}
	if info.Product == Podman {
		query.Set("stream", "false") // it waits for new ones otherwise
	}
	response, err := c.send(bounded, http.MethodGet, "/v"+info.API+"/events", query, nil, nil)
	if err != nil {
		return 0, false, late(ctx, err)
	}
	defer response.Body.Close()
	code, found := 0, false
	for decoder := json.NewDecoder(response.Body); ; {
		var event struct {
			Action string
			Actor  struct{ Attributes map[string]string }
		}
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			return code, found, nil
		} else if err != nil {
			return 0, false, late(ctx, domain.WrapError(domain.ErrUnavailable, err, "the container engine ended the events"))
		}
		if event.Action != "die" && event.Action != "died" {
			continue
		}
		if number, err := strconv.Atoi(event.Actor.Attributes["exitCode"]); err == nil {
			code, found = number, true
		}
	}
}
