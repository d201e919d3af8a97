package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// hostDir is where commands on the host begin.
const hostDir = "/"

// lastOutput is how long the output is still read after everything ended that
// can be found: what left the session may hold it open for ever.
const lastOutput = time.Second

// HostCommands is a domain.CommandRunner of this host. Commands get this
// process's user and rights, the root directory to begin in, and a minimal
// environment. What they leave in the background is killed at their end.
type HostCommands struct{ host host }

var (
	_ domain.CommandRunner = (*HostCommands)(nil)
	_ domain.CommandRunner = (*Runtime)(nil)
)

// NewHostCommands returns a runner. File descriptors that this process got from
// whoever started it are no longer passed on to any program.
func NewHostCommands() (*HostCommands, error) {
	boot, err := readBootID()
	if err != nil {
		return nil, err
	}
	if err := keepDescriptors(); err != nil {
		return nil, err
	}
	return &HostCommands{host: host{boot: boot, openPIDFD: unix.PidfdOpen, poll: Options{}.withDefaults().PollInterval}}, nil
}

// RunCommand implements domain.CommandRunner.
func (h *HostCommands) RunCommand(ctx context.Context, command domain.ServiceCommand, output io.Writer) (int, error) {
	if command.Deployment != "" {
		return 0, domain.Errorf(domain.ErrInvalid, "deployment %q is not the host", command.Deployment)
	}
	return h.host.runCommand(ctx, command.Command, hostDir, environment(nil, hostDir, ""), output)
}

// RunCommand implements domain.CommandRunner: it begins in the service's working
// directory with the service's environment. The command is no part of the service:
// it goes on when the service is stopped.
func (r *Runtime) RunCommand(ctx context.Context, command domain.ServiceCommand, output io.Writer) (int, error) {
	s, err := r.chooseService(domain.LogQuery{Deployment: command.Deployment, Service: command.Service})
	if err != nil {
		return 0, err
	}
	spec, running := s.snapshot().record.Spec, s.snapshot().record.Process
	if !r.host.alive(running) {
		return 0, domain.Errorf(domain.ErrConflict, "service %q of deployment %q does not run", s.name, command.Deployment)
	}
	dir := spec.Dir
	if dir == "" {
		dir = s.workDir()
	}
	return r.host.runCommand(ctx, command.Command, dir, environment(spec.Env, s.workDir(), ""), output)
}

// runCommand is what domain.CommandRunner asks for.
func (h host) runCommand(ctx context.Context, words []string, dir string, env []string, output io.Writer) (int, error) {
	if len(words) == 0 {
		return 0, domain.Errorf(domain.ErrInvalid, "the command is empty")
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	program, err := findProgram(contracts.ProcessService{Command: words}, dir)
	if err != nil {
		return notExecuted(output, exitNotFound, "there is no program %q", words[0])
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return 0, domain.WrapError(domain.ErrUnavailable, err, "make a pipe for the output")
	}
	defer reader.Close()
	// The kernel ends the command when the thread that began it ends, and so
	// with the agent: nobody would end it in time any more.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command := &exec.Cmd{
		Path: program, Args: words, Dir: dir, Env: env, Stdout: writer, Stderr: writer,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	err = command.Start()
	_ = writer.Close()
	if err != nil {
		return startFailed(output, words[0], dir, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(onlyWriter{output}, reader)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel()
		}
		copied <- err
	}()
	ended := h.awaitCommand(ctx, command.Process.Pid)
	leftErr := h.endSession(ctx, command.Process.Pid)
	_ = reader.SetReadDeadline(time.Now().Add(lastOutput))
	copyErr := <-copied
	if leftErr != nil {
		_ = command.Process.Release()
		return 0, leftErr
	}
	_ = command.Wait() // tells the exit code as an error
	switch {
	case copyErr != nil && !errors.Is(copyErr, os.ErrDeadlineExceeded):
		return 0, fmt.Errorf("the output of the command: %w", copyErr)
	case ended != nil:
		return 0, ended
	default:
		return exitCode(command.ProcessState), nil
	}
}

// onlyWriter hides what else the output can do: the copy reads by itself.
type onlyWriter struct{ io.Writer }

// awaitCommand blocks until the child has ended, without reaping it: its number
// stays its session's until then.
func (h host) awaitCommand(ctx context.Context, pid int) error {
	id, err := h.identify(pid)
	if err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "the command cannot be watched")
	}
	return h.waitExit(ctx, id)
}

// endSession kills everything of a session whose leader was not reaped, also
// when ctx has ended.
func (h host) endSession(ctx context.Context, leader int) error {
	giveUp := time.Now().Add(killPatience)
	for {
		var members []stat
		for process := range processes() {
			if process.session == leader {
				members = append(members, process)
			}
		}
		if len(members) == 0 {
			return nil
		}
		if time.Now().After(giveUp) {
			return domain.Errorf(domain.ErrUnavailable, "process %d of the command did not end within %s of SIGKILL", members[0].pid, killPatience)
		}
		signalAll(members, syscall.SIGKILL)
		waiting, cancel := context.WithDeadline(context.WithoutCancel(ctx), giveUp)
		_ = h.waitExit(waiting, identity{PID: members[0].pid, Start: members[0].start, Boot: h.boot})
		cancel()
	}
}

func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// Exit codes of programs that could not be executed, as shells have them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

func startFailed(output io.Writer, program, dir string, err error) (int, error) {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return notExecuted(output, exitNotFound, "program %q or its interpreter does not exist, or the directory %s", program, dir)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.ENOEXEC):
		return notExecuted(output, exitNotExecutable, "program %q cannot be executed: %v", program, cause(err))
	default:
		return 0, domain.WrapError(domain.ErrUnavailable, cause(err), "program %q could not be started", program)
	}
}

func notExecuted(output io.Writer, code int, format string, args ...any) (int, error) {
	_, err := fmt.Fprintf(output, format+"\n", args...)
	return code, err
}
