package local

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

// Process is a program that is a child of this process and ends with it.
type Process struct {
	// Name is what people read, such as "agent paris-01".
	Name string
	Path string
	// Args are asked for at each start.
	Args func() []string
	// Log is the file that takes what the program prints.
	Log string
	// Stdout takes what it prints to the standard output instead; nil for Log.
	Stdout io.Writer
	// Ready returns once the program has done its work for the first time. One
	// that ends before is not started again. Optional.
	Ready func(context.Context) error
	// Said is told when the program is started again.
	Said func(format string, args ...any)
}

// start starts the program and waits until it is ready.
func (p Process) start(ctx context.Context, units Units) error {
	if p.Ready == nil {
		_, err := units.Start(p.Name, func(ctx context.Context) error { return p.run(ctx, nil) })
		return err
	}
	serving := make(chan struct{})
	unit, err := units.Start(p.Name, func(ctx context.Context) error { return p.run(ctx, serving) })
	if err != nil {
		return err
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-unit.Ended():
			cancel()
		case <-waiting.Done():
		}
	}()
	err = p.Ready(waiting)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case waiting.Err() != nil: // it ended
		return unit.Err()
	case err != nil:
		return p.failed(err)
	}
	close(serving)
	return nil
}

// run keeps the program running until ctx is cancelled; then it asks it to
// stop, waits, and returns nil. A program that ends by itself is started
// again, as systemd or Kubernetes would.
func (p Process) run(ctx context.Context, serving <-chan struct{}) error {
	for {
		err := p.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if startFailed, ok := errors.AsType[*startError](err); ok {
			return startFailed
		}
		if serving != nil && !closed(serving) {
			return p.failed(err)
		}
		p.Said("%s ended (%v), starting it again; its log is %s", p.Name, err, p.Log)
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
func (p Process) failed(cause error) error {
	text, _ := os.ReadFile(p.Log) // the path is in the error
	text = bytes.TrimSpace(text)
	last := text[bytes.LastIndexByte(text, '\n')+1:]
	return fmt.Errorf("%s (%s) failed (%w): %s; its log is %s", p.Name, p.Path, cause, last, p.Log)
}

// startError is a program that could not be started at all.
type startError struct {
	name  string
	cause error
}

func (e *startError) Error() string { return fmt.Sprintf("start %s: %v", e.name, e.cause) }
func (e *startError) Unwrap() error { return e.cause }

// ToEnd runs a program that ends by itself. The error holds the last that it said.
func (p Process) ToEnd(ctx context.Context) error {
	err := p.once(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return p.failed(err)
}

// once runs the program to its end.
func (p Process) once(ctx context.Context) error {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return &startError{name: p.Name, cause: err}
	}
	defer func() { _ = log.Close() }()

	// The kernel signals the program when the thread that started it ends, so
	// that thread must live as long as this process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command := exec.CommandContext(ctx, p.Path, p.Args()...)
	command.Stdout, command.Stderr = log, log
	if p.Stdout != nil {
		command.Stdout = p.Stdout
	}
	// Of its own group, so that Ctrl-C at the terminal reaches it through us,
	// after which we can clean up in order.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = stopGrace
	if err := command.Start(); err != nil {
		return &startError{name: p.Name, cause: err}
	}
	return command.Wait()
}
