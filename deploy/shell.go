package deploy

import (
	"context"
	"io"
)

// Shell is the capability to run programs on a host with a POSIX shell.
// Implementations may be used by several goroutines at once.
type Shell interface {
	// Run runs a script with the rights of root and waits for its end. A script
	// that ends with another code than 0 is a Result, not an error. Errors are
	// of kind domain.ErrUnavailable when the host cannot be reached or the
	// connection broke, in which case the script may go on or have ended; and
	// of kinds Unauthenticated and PermissionDenied when it may not be run.
	Run(ctx context.Context, script Script) (Result, error)
}

// Script is a program for `sh`.
type Script struct {
	// Text is the program. What varies belongs into Args, not into the text.
	Text string
	// Args are the script's $1, $2 and so on. They can be seen by every user of
	// the host while it runs: secrets go to Stdin.
	Args []string
	// Stdin is what the script reads; nil for nothing.
	Stdin io.Reader
}

// Result is the end of a script.
type Result struct {
	Code   int
	Stdout string
	Stderr string
}
