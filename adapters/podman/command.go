package podman

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// execLook is the pause between two looks at a command that must end.
	execLook = 100 * time.Millisecond
	// execKillPatience is how long a command may take to end after SIGKILL.
	execKillPatience = 10 * time.Second
	// execBeginning is how long after the end of ctx a command that was about to
	// begin is still looked for.
	execBeginning = time.Second
)

var _ domain.CommandRunner = (*Runtime)(nil)

// RunCommand implements domain.CommandRunner. No engine can end a command in a
// container, so its processes are killed from the host: an agent that does not
// see the host's processes returns ErrUnavailable when ctx ends.
func (r *Runtime) RunCommand(ctx context.Context, command domain.ServiceCommand, output io.Writer) (int, error) {
	if len(command.Command) == 0 {
		return 0, domain.Errorf(domain.ErrInvalid, "the command is empty")
	}
	c, err := r.serviceContainer(ctx, command.Deployment, command.Service)
	if err != nil {
		return 0, err
	}
	if !c.State.Running() {
		return 0, notRunning(c)
	}
	id, err := r.client.CreateExec(ctx, c.ID, command.Command)
	if err != nil {
		// Engines tell in many ways of a container that has ended meanwhile.
		if now, lookErr := r.client.Inspect(ctx, c.ID); errors.Is(lookErr, domain.ErrNotFound) || lookErr == nil && !now.State.Running() {
			return 0, notRunning(c)
		}
		return 0, err
	}
	err = r.client.StartExec(ctx, id, output)
	if err == nil {
		code, ended, waitErr := r.awaitExec(ctx, id)
		if ended {
			return code, nil
		}
		err = waitErr
	}
	// The command must not outlive this call.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), execKillPatience)
	defer cancel()
	if problem := r.endExec(ending, c.ID, id); problem != nil {
		return 0, domain.WrapError(domain.ErrUnavailable, problem, "the command may still run in service %q of deployment %q", c.service(), command.Deployment)
	}
	return 0, err
}

func notRunning(c container) error {
	return domain.Errorf(domain.ErrConflict, "service %q of deployment %q does not run", c.service(), c.deployment())
}

// awaitExec returns the exit code of a command whose output has ended, which is
// before its end when the command closed it.
func (r *Runtime) awaitExec(ctx context.Context, id string) (code int, ended bool, err error) {
	for {
		found, err := r.client.InspectExec(ctx, id)
		switch {
		case err != nil:
			return 0, false, err
		case !found.Running:
			return found.ExitCode, true, nil
		case !pause(ctx, execLook):
			return 0, false, ctx.Err()
		}
	}
}

// endExec kills a command and everything of its session, and returns once it
// has ended.
func (r *Runtime) endExec(ctx context.Context, container, id string) error {
	seen, begun := false, time.Now()
	for {
		found, err := r.client.InspectExec(ctx, id)
		switch {
		case errors.Is(err, domain.ErrNotFound):
			return nil // the engine forgot it after its end, or with the container
		case err != nil:
			return err
		case !found.Running && (seen || time.Since(begun) >= execBeginning):
			return nil
		case found.Running && found.Pid > 0:
			seen = true
			if err := killSession(found.Pid, container); err != nil && !r.endedExec(ctx, id) {
				return err
			}
		}
		if !pause(ctx, execLook) {
			return domain.Errorf(domain.ErrUnavailable, "it did not end within %s of SIGKILL", execKillPatience)
		}
	}
}

// endedExec reports whether the command is known to have ended.
func (r *Runtime) endedExec(ctx context.Context, id string) bool {
	found, err := r.client.InspectExec(ctx, id)
	return errors.Is(err, domain.ErrNotFound) || err == nil && !found.Running
}

// pause waits for d and reports whether ctx lasted as long.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
