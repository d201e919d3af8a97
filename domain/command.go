package domain

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// CommandBus carries requests to devices. Safe for concurrent use.
type CommandBus interface {
	// Call sends one request and returns the device's reply. A device that is
	// not connected gives ErrOffline at once. A reply that does not come before ctx
	// ends gives ErrUnavailable alone: the request may have been carried out.
	Call(ctx context.Context, device contracts.DeviceID, verb contracts.Verb, request []byte) ([]byte, error)
}

// CommandHandler answers one request. It always returns a reply.
type CommandHandler func(ctx context.Context, verb contracts.Verb, request []byte) []byte

// CommandServer is the device's side of the bus.
type CommandServer interface {
	// Serve answers this device's commands, several at a time, until ctx is
	// cancelled; then it waits for those under way and returns nil.
	Serve(ctx context.Context, handle CommandHandler) error
}

// DeviceError is an error that a device answered with: it was reached, and something
// on it went wrong.
type DeviceError struct {
	Device contracts.DeviceID
	// Cause has the kind that the device gave it.
	Cause error
}

// Error is the device's own text.
func (e *DeviceError) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e *DeviceError) Unwrap() error { return e.Cause }

// Call sends a typed request and returns the typed result. The device's own
// errors are DeviceErrors and keep their kind.
func Call[Result, Request contracts.Document](ctx context.Context, bus CommandBus, device contracts.DeviceID, verb contracts.Verb, request Request) (Result, error) {
	var none Result
	body, err := contracts.Encode(request)
	if err != nil {
		return none, WrapError(ErrInvalid, err, "command %s to device %q", verb, device)
	}
	data, err := bus.Call(ctx, device, verb, body)
	if err != nil {
		return none, err
	}
	reply, err := contracts.Decode[contracts.CommandReply](data)
	if err != nil {
		return none, WrapError(ErrInvalid, err, "reply of device %q to %s", device, verb)
	}
	if reply.Error != nil {
		return none, &DeviceError{Device: device, Cause: ErrorOfKind(reply.Error.Kind, reply.Error.Message)}
	}
	result, err := contracts.Decode[Result](reply.Result)
	return result, WrapError(ErrInvalid, err, "reply of device %q to %s", device, verb)
}

// Answer encodes what a handler found: a result, or an error with its kind. A
// verb without a result answers contracts.Empty.
func Answer(result contracts.Document, err error) []byte {
	var reply contracts.CommandReply
	if err == nil {
		reply.Result, err = contracts.Encode(result)
	}
	if err != nil {
		reply = contracts.CommandReply{Error: &contracts.CommandError{
			Kind:    KindName(err),
			Message: contracts.Clip(err.Error(), contracts.MaxMessageBytes),
		}}
	}
	data, err := contracts.Encode(reply)
	if err != nil {
		return []byte(`{"error":{"kind":"Internal","message":"the reply could not be encoded"}}`)
	}
	return data
}

// logsWait is how long a device may hold a request for more of a log.
const logsWait = 10 * time.Second

// CopyLogs writes a service's log to w, piece by piece, until its end, until
// ctx is cancelled (nil), or until w or the device fails.
func CopyLogs(ctx context.Context, bus CommandBus, device contracts.DeviceID, request contracts.LogsRequest, w io.Writer) error {
	request.Wait = contracts.Duration(logsWait)
	for {
		result, err := Call[contracts.LogsResult](ctx, bus, device, contracts.VerbLogs, request)
		if err != nil {
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil
			}
			return err
		}
		if _, err := w.Write(result.Chunk); err != nil {
			return err
		}
		if result.End {
			return nil
		}
		request.Session = result.Session
	}
}
