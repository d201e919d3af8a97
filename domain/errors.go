package domain

import (
	"errors"
	"fmt"
)

// The kinds of error. Adapters translate their provider's errors once, at
// their edge, into an error that satisfies errors.Is with one of these kinds
// and keeps the cause reachable. Callers decide on the kind, never on text.
var (
	// ErrNotFound: the named thing does not exist.
	ErrNotFound = errors.New("not found")
	// ErrAlreadyExists: a thing of that name exists already.
	ErrAlreadyExists = errors.New("already exists")
	// ErrConflict: somebody else changed it since it was read, or owns it.
	ErrConflict = errors.New("conflict")
	// ErrInvalid: the input can never succeed as it is.
	ErrInvalid = errors.New("invalid")
	// ErrUnauthenticated: who is asking is not known.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrPermissionDenied: who is asking may not do it.
	ErrPermissionDenied = errors.New("permission denied")
	// ErrUnavailable: it cannot be reached now; trying again later can help.
	ErrUnavailable = errors.New("unavailable")
	// ErrUnsupported: this implementation cannot do it.
	ErrUnsupported = errors.New("not supported")
)

// ErrOffline is an ErrUnavailable of a CommandBus that knows that nobody takes the
// device's commands now. An error without it may also be a slow link.
var ErrOffline = Errorf(ErrUnavailable, "nobody takes its commands")

// kinds pairs each kind with its name on the wire.
func kinds() map[string]error {
	return map[string]error{
		"NotFound":         ErrNotFound,
		"AlreadyExists":    ErrAlreadyExists,
		"Conflict":         ErrConflict,
		"Invalid":          ErrInvalid,
		"Unauthenticated":  ErrUnauthenticated,
		"PermissionDenied": ErrPermissionDenied,
		"Unavailable":      ErrUnavailable,
		"Unsupported":      ErrUnsupported,
	}
}

// internalKind is the name of an error that has no kind.
const internalKind = "Internal"

// KindName returns the name of err's kind, such as "NotFound", or "Internal".
func KindName(err error) string {
	for name, kind := range kinds() {
		if errors.Is(err, kind) {
			return name
		}
	}
	return internalKind
}

// kindError is an error of a kind, with a text and perhaps a cause.
type kindError struct {
	kind  error
	text  string
	cause error
}

func (e *kindError) Error() string {
	if e.cause == nil {
		return e.text
	}
	return e.text + ": " + e.cause.Error()
}

func (e *kindError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.cause}
}

// Errorf returns an error of the given kind. Its text is the formatted one
// alone: say what happened, to what, and why.
func Errorf(kind error, format string, args ...any) error {
	return &kindError{kind: kind, text: fmt.Sprintf(format, args...)}
}

// WrapError gives cause a kind and says what was being done. It returns nil
// for a nil cause.
func WrapError(kind, cause error, format string, args ...any) error {
	if cause == nil {
		return nil
	}
	return &kindError{kind: kind, text: fmt.Sprintf(format, args...), cause: cause}
}

// ErrorOfKind is the inverse of KindName, for errors that crossed a wire.
func ErrorOfKind(name, message string) error {
	kind, ok := kinds()[name]
	if !ok {
		return errors.New(message)
	}
	return &kindError{kind: kind, text: message}
}
