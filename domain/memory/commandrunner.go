package memory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// HostCommands is a domain.CommandRunner of a host that runs nothing. Its
// commands, as those in the services of a Runtime, are pairs of words:
//
//	print TEXT   write it
//	flood N      write N bytes
//	exit CODE    end
//	hang _       run until killed
type HostCommands struct{}

var (
	_ domain.CommandRunner = HostCommands{}
	_ domain.CommandRunner = (*Runtime)(nil)
)

// RunCommand implements domain.CommandRunner.
func (HostCommands) RunCommand(ctx context.Context, command domain.ServiceCommand, output io.Writer) (int, error) {
	if command.Deployment != "" {
		return 0, domain.Errorf(domain.ErrInvalid, "the host has no deployment %q", command.Deployment)
	}
	return interpret(ctx, command.Command, output)
}

// RunCommand implements domain.CommandRunner.
func (r *Runtime) RunCommand(ctx context.Context, command domain.ServiceCommand, output io.Writer) (int, error) {
	r.mu.Lock()
	r.advance(time.Now())
	s, err := r.serviceOf(command.Deployment, command.Service)
	running := err == nil && s.running
	r.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if !running {
		return 0, domain.Errorf(domain.ErrConflict, "service %q of deployment %q does not run", s.declared.name, command.Deployment)
	}
	return interpret(ctx, command.Command, output)
}

// serviceOf is called under the lock.
func (r *Runtime) serviceOf(deployment contracts.DeploymentName, service string) (*service, error) {
	w := r.workloads[deployment]
	if w == nil {
		return nil, domain.Errorf(domain.ErrNotFound, "deployment %q is not on this host", deployment)
	}
	names := slices.Sorted(maps.Keys(w.services))
	if service == "" && len(names) > 1 {
		return nil, domain.Errorf(domain.ErrInvalid, "deployment %q has several services, name one of %v", deployment, names)
	}
	if service == "" && len(names) == 1 {
		service = names[0]
	}
	s := w.services[service]
	if s == nil {
		return nil, domain.Errorf(domain.ErrNotFound, "deployment %q has no service %q", deployment, service)
	}
	return s, nil
}

func interpret(ctx context.Context, words []string, output io.Writer) (int, error) {
	if len(words) == 0 {
		return 0, domain.Errorf(domain.ErrInvalid, "the command is empty")
	}
	for ; len(words) >= 2; words = words[2:] {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		number, _ := strconv.Atoi(words[1])
		var err error
		switch words[0] {
		case "print":
			_, err = io.WriteString(output, words[1])
		case "flood":
			_, err = output.Write(bytes.Repeat([]byte{'x'}, number))
		case "exit":
			return number, nil
		case "hang":
			<-ctx.Done()
			err = ctx.Err()
		default:
			return noProgram(words[0], output)
		}
		if err != nil {
			return 0, err
		}
	}
	if len(words) > 0 {
		return noProgram(words[0], output)
	}
	return 0, nil
}

func noProgram(name string, output io.Writer) (int, error) {
	_, err := fmt.Fprintf(output, "there is no program %q\n", name)
	return 127, err
}
