package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Remove stops the deployment's services, all at once, and deletes their files.
func (r *Runtime) Remove(ctx context.Context, name contracts.DeploymentName) error {
	r.mu.Lock()
	d, ok := r.deployments[name]
	var services []*service
	if ok {
		for _, s := range d.services {
			services = append(services, s)
		}
	}
	r.mu.Unlock()
	if !ok {
		return nil
	}
	var failures failureList
	var wait sync.WaitGroup
	for _, s := range services {
		wait.Go(func() { failures.add(r.removeService(ctx, s)) })
	}
	wait.Wait()
	if err := failures.err(); err != nil {
		return err
	}
	if err := removeFiles(filepath.Join(r.dir, string(name))); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.deployments, name)
	return nil
}

func (r *Runtime) removeService(ctx context.Context, s *service) error {
	if err := s.lock(ctx); err != nil {
		return cancelled(s.name, err)
	}
	defer s.unlock()
	if err := s.stop(ctx); err != nil {
		return err
	}
	if err := removeFiles(s.dir); err != nil {
		return err
	}
	st := s.snapshot()
	st.removed = true
	s.publish(st)
	s.wakeSupervisor()
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.deployments[s.deployment]; d != nil && d.services[s.name] == s {
		delete(d.services, s.name)
	}
	return nil
}

func removeFiles(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		at := dir
		if problem, ok := errors.AsType[*fs.PathError](err); ok {
			at = problem.Path
		}
		return &domain.WorkloadError{Reason: contracts.ReasonStopFailed, Message: fmt.Sprintf("the files in %s were not removed, because of %s: %v", dir, at, cause(err)), Cause: err}
	}
	return nil
}
