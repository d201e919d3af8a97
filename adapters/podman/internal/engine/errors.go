package engine

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/nationtech/harmony-fleet/domain"
)

// Error is a call that the engine refused. errors.Is tells its kind.
type Error struct {
	// Call is the method and the path.
	Call string
	// Status is the HTTP status; 0 when a stream that had begun well failed.
	Status int
	// Message is the engine's text.
	Message string
	// Cause is the innermost error of Podman, empty with Docker.
	Cause string
}

// Error returns the engine's text.
func (e *Error) Error() string { return e.Message }

// Is gives the error its kind by its status, and by Podman's cause: of what is
// just being removed it tells with status 500.
func (e *Error) Is(kind error) bool {
	if slices.Contains([]string{"no such container", "no such image", "image not known"}, e.Cause) {
		return kind == domain.ErrNotFound
	}
	switch e.Status {
	case http.StatusNotFound:
		return kind == domain.ErrNotFound
	case http.StatusConflict:
		return kind == domain.ErrConflict
	case http.StatusBadRequest:
		return kind == domain.ErrInvalid
	case http.StatusUnauthorized:
		return kind == domain.ErrUnauthenticated
	case http.StatusForbidden:
		return kind == domain.ErrPermissionDenied
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return kind == domain.ErrUnavailable
	default:
		return false
	}
}

// readError decodes a refusal. Its body is bounded: an error is shown to people.
func readError(method, path string, response *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(response.Body, 16<<10))
	failure := &Error{Call: method + " " + path, Status: response.StatusCode}
	var answer struct {
		Message string `json:"message"`
		Cause   string `json:"cause"`
	}
	if json.Unmarshal(body, &answer) == nil && answer.Message != "" {
		failure.Message, failure.Cause = answer.Message, answer.Cause
	} else {
		failure.Message = strings.TrimSpace(response.Status + " " + string(body))
	}
	return failure
}
