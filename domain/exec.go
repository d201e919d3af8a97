package domain

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Reasons of the events of kind CommandExecuted. A device's refusal or failure
// has the name of its error kind instead.
const (
	// ExecRequested is recorded before the command is sent.
	ExecRequested = "Requested"
	// ExecExited: the command ended with the exit code in the message.
	ExecExited = "Exited"
	// ExecTimedOut: the device killed it at the end of its timeout.
	ExecTimedOut = "TimedOut"
	// ExecAbandoned: whoever asked did not wait for the end.
	ExecAbandoned = "Abandoned"
)

// execRecordTime bounds how long the end of a command may take to be recorded.
const execRecordTime = 10 * time.Second

// UnrecordedError says what is missing in the audit.
type UnrecordedError struct {
	// Sent says that the device was asked and answered as the result says, and
	// that its end is missing. Otherwise nothing is there and nothing was sent.
	Sent  bool
	Cause error
}

// Error says what is missing and why.
func (e *UnrecordedError) Error() string {
	if !e.Sent {
		return "the command was not sent, as it could not be recorded in the events: " + e.Cause.Error()
	}
	return "the end of the command could not be recorded in the events: " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *UnrecordedError) Unwrap() error { return e.Cause }

// Exec runs a command on a device and returns how it ended. The audit holds
// that it was asked for, by whom and with which words, before the device is told:
// when this cannot be stored, nothing is sent. How the command ended is recorded
// after it, even when ctx has ended meanwhile; its output never is. What could not
// be recorded is an *UnrecordedError. While the command runs, the device is asked
// now and then whether it is there: ErrUnavailable when its agent is gone.
func Exec(ctx context.Context, bus CommandBus, log EventLog, actor string, device contracts.DeviceID, request contracts.ExecRequest) (contracts.ExecResult, error) {
	if err := request.Validate(); err != nil {
		return contracts.ExecResult{}, WrapError(ErrInvalid, err, "command to device %q", device)
	}
	event := func(reason, end string) contracts.Event {
		return contracts.Event{
			Time: time.Now().UTC(), Kind: contracts.EventCommandExecuted, Device: device, Deployment: request.Deployment,
			Reason: reason, Actor: actor,
			Message: contracts.Clip(end+execText(request), contracts.MaxMessageBytes),
		}
	}
	if err := log.Append(ctx, event(ExecRequested, "")); err != nil {
		return contracts.ExecResult{}, &UnrecordedError{Cause: err}
	}
	result, err := callExec(ctx, bus, device, request)
	reason, end := execEnd(ctx, result, err)
	recording, cancel := context.WithTimeout(context.WithoutCancel(ctx), execRecordTime)
	defer cancel()
	if problem := log.Append(recording, event(reason, end+": ")); problem != nil && err == nil {
		err = &UnrecordedError{Sent: true, Cause: problem}
	}
	return result, err
}

// execEnd says how it went in a word and in a few.
func execEnd(ctx context.Context, result contracts.ExecResult, err error) (reason, text string) {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ExecAbandoned, "nobody waited for its end"
	case err != nil:
		return KindName(err), "no result"
	case result.TimedOut:
		return ExecTimedOut, "killed at the end of its time"
	default:
		return ExecExited, "exit code " + strconv.Itoa(result.ExitCode)
	}
}

// execText is where the command runs and its words, quoted where it matters.
func execText(request contracts.ExecRequest) string {
	words := make([]string, len(request.Command))
	for i, word := range request.Command {
		if words[i] = word; word == "" || strings.ContainsFunc(word, needsQuotes) {
			words[i] = strconv.Quote(word)
		}
	}
	where := "on the host"
	switch {
	case request.Service != "":
		where = "in service " + request.Service
	case request.Deployment != "":
		where = "in its service"
	}
	return strings.Join(words, " ") + " (" + where + ", at most " + request.Timeout.Std().String() + ")"
}

func needsQuotes(r rune) bool {
	return r <= ' ' || r == '"' || r == '\'' || r == '\\' || !strconv.IsPrint(r)
}
