package fleettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Program is a running process of the fleet, in a process group of its own.
type Program struct {
	Name    string
	command *exec.Cmd
	output  *output
	done    chan struct{}
	err     error
}

// Start runs a program. What it prints goes to echo as well when that is not nil.
func Start(name, path string, args, env []string, echo io.Writer) (*Program, error) {
	p := &Program{Name: name, command: exec.Command(path, args...), output: &output{echo: echo}, done: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = p.output, p.output
	p.command.Env = append(os.Environ(), env...)
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.command.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID returns the process ID.
func (p *Program) PID() int { return p.command.Process.Pid }

// Output returns what it printed so far.
func (p *Program) Output() string { return p.output.String() }

// Done is closed when the process has ended.
func (p *Program) Done() <-chan struct{} { return p.done }

// Stop sends a signal and waits for the end, at most grace long; then it kills
// the process and says so. It returns how the process ended.
func (p *Program) Stop(signal syscall.Signal, grace time.Duration) error {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(grace):
		_ = p.command.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not end within %s of %s", p.Name, grace, signal)
	}
}

// Kill ends the process at once, as a power cut would, and waits for its end.
func (p *Program) Kill() {
	_ = p.command.Process.Kill()
	<-p.done
}

// Run runs a program to its end and returns what it printed on each channel.
// A non-zero exit is an *exec.ExitError.
func Run(ctx context.Context, path string, args, env []string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	command := exec.CommandContext(ctx, path, args...)
	command.Stdout, command.Stderr = &out, &errs
	command.Env = append(os.Environ(), env...)
	err = command.Run()
	return out.String(), errs.String(), err
}

// output collects what a program prints. It is safe for concurrent use.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	echo io.Writer
}

func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.echo != nil {
		_, _ = o.echo.Write(data)
	}
	return o.text.Write(data)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
