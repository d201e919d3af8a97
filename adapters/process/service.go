package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// service is one service of a deployment, with its process if one runs.
//
// Whoever starts, stops or takes note of an end holds operation; state is
// published for those who only look.
type service struct {
	runtime    *Runtime
	deployment contracts.DeploymentName
	name       string
	dir        string
	log        *logFile
	operation  chan struct{} // holds one token while taken
	changed    chan struct{} // wakes the supervisor

	mu    sync.Mutex
	state state
}

// state is what is known of a service.
type state struct {
	record record
	// began is when the process started.
	began time.Time
	// next is when to start the process again, while none runs.
	next time.Time
	// killAt is when a process that is being stopped is killed; zero before.
	killAt time.Time
	// failed is why the last start failed.
	failed *domain.WorkloadError
	// removed says that the service is no more.
	removed bool
}

func (r *Runtime) newService(deployment contracts.DeploymentName, name string) *service {
	dir := filepath.Join(r.dir, string(deployment), name)
	return &service{
		runtime:    r,
		deployment: deployment,
		name:       name,
		dir:        dir,
		log:        newLogFile(filepath.Join(dir, "log"), r.options.LogBytes),
		operation:  make(chan struct{}, 1),
		changed:    make(chan struct{}, 1),
	}
}

func (s *service) mark() string {
	return s.runtime.mark + "/" + string(s.deployment) + "/" + s.name
}

func (s *service) workDir() string { return filepath.Join(s.dir, "work") }

// lock waits until nobody else works on the service, or returns ctx's error.
func (s *service) lock(ctx context.Context) error {
	select {
	case s.operation <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *service) tryLock() bool {
	select {
	case s.operation <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *service) unlock() { <-s.operation }

func (s *service) snapshot() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *service) publish(st state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = st
}

func (s *service) save(st state) error {
	return writeRecord(filepath.Join(s.dir, recordFile), st.record)
}

// store publishes the state and records it. A record that cannot be written is
// made up for: the process carries its mark.
func (s *service) store(st state) {
	s.publish(st)
	if err := s.save(st); err != nil {
		s.logger().Warn("service record not written", slog.Any("error", err))
	}
}

func (s *service) logger() *slog.Logger {
	return s.runtime.options.Logger.With(slog.String("deployment", string(s.deployment)), slog.String("service", s.name))
}

func (s *service) wakeSupervisor() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// settle takes note of the process's end, once, if it has ended.
func (s *service) settle() {
	st := s.snapshot()
	id := st.record.Process
	if id.PID == 0 || s.runtime.host.alive(id) {
		return
	}
	now := time.Now()
	options := s.runtime.options
	st.record.Process = identity{}
	st.record.NotBefore = nowTicks()
	st.record.Ended = true
	st.record.ExitCode = s.runtime.host.reap(id)
	st.killAt = time.Time{}
	if !st.record.Stopping {
		if now.Sub(st.began) >= options.StableAfter {
			st.record.Failures = 0
		}
		st.record.Failures++
		st.record.Ends = options.recent(slices.Concat(st.record.Ends, []time.Time{now}), now)
		st.next = now.Add(options.backoff(st.record.Failures))
		s.logger().Info("service process ended", slog.Int("pid", id.PID), exitCodeAttr(st.record.ExitCode), slog.Bool("restart", st.record.due()))
		s.runtime.hints.tell(s.deployment)
	}
	s.store(st)
}

func exitCodeAttr(code *int) slog.Attr {
	if code == nil {
		return slog.String("exit_code", "unknown")
	}
	return slog.Int("exit_code", *code)
}

// begin starts the process of the recorded spec. Nothing of an earlier start
// runs when it does. The caller holds operation and the service runs no process.
func (s *service) begin(ctx context.Context, restart bool) error {
	err := s.endLeftovers(ctx, identity{})
	if ctx.Err() != nil {
		return err
	}
	st := s.snapshot()
	var id identity
	if err == nil {
		id, err = s.launch(st)
	}
	if err != nil {
		failure := asFailure(err)
		st.failed = failure
		st.record.Failures++
		st.next = time.Now().Add(s.runtime.options.backoff(st.record.Failures))
		s.publish(st)
		return failure
	}
	st.failed = nil
	st.began = time.Now()
	st.record.Process = id
	if restart {
		st.record.Restarts++
	}
	s.store(st)
	s.logger().Info("service process started", slog.Int("pid", id.PID), slog.Uint64("restarts", st.record.Restarts))
	return nil
}

// launch returns a *domain.WorkloadError.
func (s *service) launch(st state) (identity, error) {
	if err := makeDirs(s.dir, s.workDir()); err != nil {
		return identity{}, storageError(s.name, err)
	}
	// Recorded before the start: should the agent end right after it, the next
	// one knows what it finds.
	if err := s.save(st); err != nil {
		return identity{}, storageError(s.name, err)
	}
	if err := s.log.cut(); err != nil {
		s.logger().Warn("log not cut", slog.Any("error", err))
	}
	output, err := s.log.open()
	if err != nil {
		return identity{}, storageError(s.name, err)
	}
	defer output.Close()
	return s.runtime.launch(st.record.Spec, s.mark(), s.workDir(), output)
}

// storageError is for files that cannot be written.
func storageError(service string, err error) error {
	reason := contracts.ReasonStartFailed
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		reason = contracts.ReasonDiskFull
	}
	return startError(service, reason, err, "%v", err)
}

// report is the service as it is reported; reason and message are empty when
// nothing is wrong.
func (s *service) report() (report contracts.ServiceReport, reason contracts.Reason, message string) {
	st := s.snapshot()
	report = contracts.ServiceReport{
		Name: s.name, State: contracts.ServiceRunning, Restarts: st.record.Restarts,
		ExitCode: st.record.ExitCode, PID: st.record.Process.PID,
	}
	if report.PID != 0 {
		return report, "", ""
	}
	options := s.runtime.options
	due := st.record.due()
	switch {
	case st.record.Hash == "", due && !st.record.Ended:
		report.State = contracts.ServiceWaiting
	case due:
		report.State = contracts.ServiceRestarting
	default:
		report.State = contracts.ServiceExited
	}
	switch {
	case st.failed != nil:
		reason, message = st.failed.Reason, st.failed.Message
	case st.record.Stopping:
	case due && len(options.recent(st.record.Ends, time.Now())) >= options.CrashLoopEnds:
		reason = contracts.ReasonCrashLoop
		message = fmt.Sprintf("service %q ends again and again, last with %s; it is started again after a pause, see its log", s.name, exitText(st.record.ExitCode))
	case !due && st.record.Ended && (st.record.ExitCode == nil || *st.record.ExitCode != 0):
		reason = contracts.ReasonExited
		message = fmt.Sprintf("service %q ended with %s and its restart policy is %q", s.name, exitText(st.record.ExitCode), st.record.Spec.Restart.OrDefault())
	}
	return report, reason, message
}

func exitText(code *int) string {
	switch {
	case code == nil:
		return "an unknown exit code (the agent was not its parent)"
	case *code >= 128:
		return fmt.Sprintf("exit code %d (signal %d)", *code, *code-128)
	default:
		return fmt.Sprintf("exit code %d", *code)
	}
}
