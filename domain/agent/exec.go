package agent

import (
	"context"
	"errors"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// ExecPolicy is what commands from afar may do on a device.
type ExecPolicy string

// The policies.
const (
	// ExecNone refuses every command; so does the zero value.
	ExecNone ExecPolicy = "none"
	// ExecWorkloads runs commands in the services of deployments alone.
	ExecWorkloads ExecPolicy = "workloads"
	// ExecAll runs commands on the host as well, with the agent's rights.
	ExecAll ExecPolicy = "all"
)

// maxExecs bounds the commands that run at the same time, and with them the
// memory for their output.
const maxExecs = 4

// exec answers a request to run a command.
func (a *Agent) exec(ctx context.Context, request contracts.ExecRequest) (contracts.ExecResult, error) {
	if err := a.allows(request); err != nil {
		a.log.WarnContext(ctx, "command refused by the configuration", "deployment", request.Deployment, "program", request.Command[0])
		return contracts.ExecResult{}, err
	}
	runner, err := a.runnerOf(request.Deployment)
	if err != nil {
		return contracts.ExecResult{}, err
	}
	select {
	case a.execs <- struct{}{}:
		defer func() { <-a.execs }()
	default:
		return contracts.ExecResult{}, domain.Errorf(domain.ErrUnavailable, "%d commands run on this device, no more are allowed: try again later", maxExecs)
	}
	// The arguments are not logged: they may hold secrets.
	log := a.log.With("deployment", request.Deployment, "service", request.Service, "program", request.Command[0])
	log.InfoContext(ctx, "command is run", "timeout", request.Timeout.Std())
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, request.Timeout.Std())
	defer cancel()
	output := &execOutput{}
	command := domain.ServiceCommand{Deployment: request.Deployment, Service: request.Service, Command: request.Command}
	code, err := runner.RunCommand(bounded, command, output)
	timedOut := errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && !errors.Is(err, domain.ErrUnavailable)
	if err != nil && !timedOut {
		log.WarnContext(ctx, "command failed", "took", time.Since(began), "error", err)
		if ctx.Err() != nil {
			return contracts.ExecResult{}, domain.WrapError(domain.ErrUnavailable, err, "the agent stopped and killed the command")
		}
		return contracts.ExecResult{}, err
	}
	if timedOut {
		code = killedExitCode
	}
	log.InfoContext(ctx, "command ended", "took", time.Since(began), "exitCode", code, "timedOut", timedOut)
	return contracts.ExecResult{ExitCode: code, Output: output.kept, Truncated: output.truncated, TimedOut: timedOut}, nil
}

// killedExitCode is that of what SIGKILL ended.
const killedExitCode = 128 + 9

// allows returns nil, or what to set so that the command would be run.
func (a *Agent) allows(request contracts.ExecRequest) error {
	const text = "this device does not run commands %s: set exec = %q under [commands] in its agent's configuration and restart the agent"
	switch {
	case a.options.Exec == ExecAll, a.options.Exec == ExecWorkloads && request.Deployment != "":
		return nil
	case request.Deployment != "":
		return domain.Errorf(domain.ErrPermissionDenied, text, "in its services", ExecWorkloads)
	default:
		return domain.Errorf(domain.ErrPermissionDenied, text, "on the host", ExecAll)
	}
}

// runnerOf returns who runs commands in the deployment, or on the host.
func (a *Agent) runnerOf(name contracts.DeploymentName) (domain.CommandRunner, error) {
	if name == "" {
		if a.hostCommands == nil {
			return nil, domain.Errorf(domain.ErrUnsupported, "this agent cannot run commands on the host")
		}
		return a.hostCommands, nil
	}
	runtime, err := a.runtimeOf(name)
	if err != nil {
		return nil, err
	}
	runner, ok := runtime.(domain.CommandRunner)
	if !ok {
		return nil, domain.Errorf(domain.ErrUnsupported, "deployment %q is run by %s, which cannot run commands in it", name, runtime.Name())
	}
	return runner, nil
}

// execOutput keeps the beginning of what a command prints and drops the rest.
type execOutput struct {
	kept      []byte
	truncated bool
}

// Write implements io.Writer; it never fails, so that the command goes on.
func (o *execOutput) Write(piece []byte) (int, error) {
	room := min(contracts.MaxExecOutput-len(o.kept), len(piece))
	o.kept = append(o.kept, piece[:room]...)
	o.truncated = o.truncated || room < len(piece)
	return len(piece), nil
}
