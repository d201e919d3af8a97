package host

import (
	"context"
	"errors"
	"os/exec"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Local is this machine, with the rights of the process: root's, for most Scores.
type Local struct{}

var _ deploy.Shell = Local{}

// Run implements deploy.Shell. When ctx ends, the shell is killed.
func (Local) Run(ctx context.Context, script deploy.Script) (deploy.Result, error) {
	args := append([]string{"-c", script.Text, "sh"}, script.Args...)
	command := exec.CommandContext(ctx, "sh", args...)
	stdout, stderr := &limited{}, &limited{}
	command.Stdin, command.Stdout, command.Stderr = script.Stdin, stdout, stderr
	err := command.Run()
	result := deploy.Result{Stdout: stdout.String(), Stderr: stderr.String()}
	if ctx.Err() != nil {
		return result, domain.WrapError(domain.ErrUnavailable, context.Cause(ctx), "run a script")
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		result.Code = exit.ExitCode()
		return result, nil
	}
	return result, domain.WrapError(domain.ErrUnavailable, err, "run a script")
}
