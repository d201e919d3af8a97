package podman

import (
	"context"
	"errors"
	"strings"

	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// shortestSecret is the length from which an environment variable's value is
// taken out of messages; shorter ones are part of too many words.
const shortestSecret = 4

// longestMessage bounds an engine's text in a message.
const longestMessage = 600

// failure makes a WorkloadError of an engine's error. The reason is the given
// one unless the error tells a better one. The engine's text becomes part of
// the message, without the values of the environment.
func failure(otherwise contracts.Reason, what string, err error, env map[string]string) *domain.WorkloadError {
	if known, ok := errors.AsType[*domain.WorkloadError](err); ok {
		return known
	}
	reason, hint := otherwise, ""
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case errors.Is(err, domain.ErrUnavailable):
		reason = contracts.ReasonRuntimeUnavailable
	case engine.DiskFull(err):
		reason, hint = contracts.ReasonDiskFull, "; free disk space on the device"
	case engine.PortTaken(err):
		reason, hint = contracts.ReasonPortConflict, "; stop what uses the port or choose another one"
	case engine.CommandNotFound(err):
		reason, hint = contracts.ReasonCommandNotFound, "; check command against what is in the image"
	}
	text := redact(err.Error(), env)
	if len(text) > longestMessage {
		text = strings.ToValidUTF8(text[:longestMessage], "") + "…"
	}
	return &domain.WorkloadError{Reason: reason, Message: what + ": " + text + hint, Cause: cause(err, text)}
}

// redact takes the values of the environment out of a text.
func redact(text string, env map[string]string) string {
	for _, value := range env {
		if len(value) >= shortestSecret {
			text = strings.ReplaceAll(text, value, "(redacted)")
		}
	}
	return text
}

// cause keeps the kind reachable, and not the text that was redacted.
func cause(err error, text string) error {
	refusal, ok := errors.AsType[*engine.Error](err)
	if !ok {
		return err
	}
	clean := *refusal
	clean.Message, clean.Cause = text, ""
	return &clean
}

func failed(reason contracts.Reason, message string) *domain.WorkloadError {
	return &domain.WorkloadError{Reason: reason, Message: message}
}
