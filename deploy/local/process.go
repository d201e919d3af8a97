package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	restartDelay = time.Second
	stopGrace    = 10 * time.Second
)

// child is a program of the fleet that runs as a process of its own.
type child struct {
	// name is what people read, such as "agent paris-01".
	name string
	path string
	args []string
	// log takes what the program prints.
	log string
	// stdout takes what it prints to the standard output instead; nil for log.
	stdout io.Writer
	// serving is closed once the program has done its work for the first time: a
	// program that ends before is not started again. Nil when it always is.
	serving <-chan struct{}
	// said is told when the program is started again.
	said func(format string, args ...any)
}

// run keeps the program running until ctx is cancelled; then it asks it to
// stop, waits, and returns nil. A program that ends by itself is started
// again, as systemd or Kubernetes would.
func (c child) run(ctx context.Context) error {
	for {
		err := c.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if startFailed, ok := errors.AsType[*startError](err); ok {
			return startFailed
		}
		if c.serving != nil && !closed(c.serving) {
			return c.failed(err)
		}
		c.said("%s ended (%v), starting it again; its log is %s", c.name, err, c.log)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restartDelay):
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// failed is the error of a program that ended without doing what it is for, with
// the last that it said.
func (c child) failed(cause error) error {
	text, _ := os.ReadFile(c.log) // the path is in the error
	text = bytes.TrimSpace(text)
	last := text[bytes.LastIndexByte(text, '\n')+1:]
	return fmt.Errorf("%s (%s) failed (%w): %s; its log is %s", c.name, c.path, cause, last, c.log)
}

// startError is a program that could not be started at all.
type startError struct {
	name  string
	cause error
}

func (e *startError) Error() string { return fmt.Sprintf("start %s: %v", e.name, e.cause) }
func (e *startError) Unwrap() error { return e.cause }

// once runs the program to its end.
func (c child) once(ctx context.Context) error {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return &startError{name: c.name, cause: err}
	}
	defer func() { _ = log.Close() }()

	// The kernel signals the program when the thread that started it ends, so
	// that thread must live as long as this process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command := exec.CommandContext(ctx, c.path, c.args...)
	command.Stdout, command.Stderr = log, log
	if c.stdout != nil {
		command.Stdout = c.stdout
	}
	// Of its own group, so that Ctrl-C at the terminal reaches it through us,
	// after which we can clean up in order.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = stopGrace
	if err := command.Start(); err != nil {
		return &startError{name: c.name, cause: err}
	}
	return command.Wait()
}
