package domain

import (
	"context"
	"io"

	"github.com/nationtech/harmony-fleet/contracts"
)

// ServiceCommand is a program to run next to a service, or on the host when no
// deployment is named.
type ServiceCommand struct {
	Deployment contracts.DeploymentName
	// Service may be empty when the deployment has one service.
	Service string
	// Command is the program and its arguments.
	Command []string
}

// CommandRunner runs commands for people who look for a fault. A
// WorkloadRuntime that can do so is a CommandRunner too. Safe for concurrent
// use.
type CommandRunner interface {
	// RunCommand runs a command in a service that runs, with that service's
	// environment, working directory, user and limits; a runner of the host runs
	// it on the host and refuses one that names a deployment. Standard input is
	// empty. Standard output and error go to output, each in its order; nothing
	// is written after the return, and an error of output ends the command.
	//
	// It blocks until the command ended and returns its exit code: 128 and the
	// signal's number for one that a signal ended, 126 or 127, with the reason in
	// the output, for a program that does not exist or cannot be executed. When
	// ctx ends it kills the command with everything of its session, and returns
	// ctx's error; ErrUnavailable when that could not be done and something may
	// still run.
	//
	// ErrNotFound when there is no such service, ErrConflict when the service does
	// not run, ErrInvalid when the service must be named or the command is empty.
	RunCommand(ctx context.Context, command ServiceCommand, output io.Writer) (exitCode int, err error)
}
