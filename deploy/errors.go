package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Error is the end of a run that did not succeed: which step, why, and what to
// do next. What was done before it stays, and the same command goes on there.
type Error struct {
	Score string
	// Target is where, such as a host; empty when there is only one.
	Target string
	// Step is the ID of a resource, or the name of a check.
	Step  string
	Cause error
	// Next is what to do.
	Next string
	// Diagnosis is what the companions found out about it, such as log lines.
	Diagnosis []string
}

// again is what to do when nothing better is known.
const again = "correct it and run the same command again: it goes on where it stopped"

// Error is one line, with the diagnosis in lines of its own.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Score)
	if e.Target != "" {
		fmt.Fprintf(&b, " on %s", e.Target)
	}
	if e.Step != "" {
		fmt.Fprintf(&b, ": %s", e.Step)
	}
	fmt.Fprintf(&b, ": %v; next: %s", e.Cause, e.Next)
	for _, line := range e.Diagnosis {
		b.WriteString("\n    " + line)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Cause }

// advice is an error that knows what to do about it.
type advice struct {
	error
	next string
}

func (a *advice) Unwrap() error { return a.error }

// WithNext adds to err what to do about it: the Next of the run's Error. It
// returns nil for a nil err.
func WithNext(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &advice{error: err, next: fmt.Sprintf(format, args...)}
}

// Next returns what the innermost WithNext in err said, since whoever was closest
// knows best; empty for none.
func Next(err error) string {
	next := ""
	for {
		found, ok := errors.AsType[*advice](err)
		if !ok {
			return next
		}
		next, err = found.next, found.error
	}
}

// nextOf always knows something.
func nextOf(err error) string {
	switch next := Next(err); {
	case next != "":
		return next
	case errors.Is(err, context.Canceled):
		return "run the same command again: it goes on where it stopped"
	default:
		return again
	}
}
