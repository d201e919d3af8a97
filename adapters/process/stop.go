package process

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// killPatience is how long processes may take to end after SIGKILL. Those that
// hang in the kernel, on a dead disk say, can take for ever.
const killPatience = 10 * time.Second

// stop ends the process and all that descends from it: the stop signal first,
// SIGKILL after the grace period. Once begun the service is not started again,
// and a further call after ctx was cancelled keeps the first one's deadline.
// The caller holds operation.
func (s *service) stop(ctx context.Context) error {
	st := s.snapshot()
	if !st.record.Stopping {
		st.record.Stopping = true
		s.store(st)
	}
	// Ended or not: as long as the process can be found, its session is its own.
	leader := identity{}
	if id, err := s.runtime.host.identify(st.record.Process.PID); err == nil && id == st.record.Process {
		leader = id
	}
	if err := s.endLeftovers(ctx, leader); err != nil {
		return err
	}
	s.settle()
	return nil
}

// endLeftovers ends what is left of the service's processes. The session of
// the given leader is the service's; the zero one when none is known to be.
func (s *service) endLeftovers(ctx context.Context, leader identity) error {
	members := s.members(leader)
	st := s.snapshot()
	if len(members) > 0 && st.killAt.IsZero() {
		signalAll(members, unix.SignalNum(st.record.Lifecycle.Signal()))
		signalAll(members, syscall.SIGCONT) // a suspended process cannot end
		st.killAt = time.Now().Add(st.record.Lifecycle.GracePeriod())
		s.publish(st)
	}
	if len(members) > 0 {
		if err := s.awaitMembers(ctx, leader, st.killAt); err != nil {
			return err
		}
	}
	if !st.killAt.IsZero() {
		st.killAt = time.Time{}
		s.publish(st)
	}
	return nil
}

// awaitMembers returns nil once none is left.
func (s *service) awaitMembers(ctx context.Context, leader identity, killAt time.Time) error {
	giveUp := killAt.Add(killPatience)
	if late := time.Now().Add(killPatience); late.After(giveUp) {
		giveUp = late
	}
	for {
		members := s.members(leader)
		if len(members) == 0 {
			return nil
		}
		deadline := killAt
		if !time.Now().Before(killAt) {
			signalAll(members, syscall.SIGKILL)
			deadline = giveUp
		}
		first := members[0]
		waiting, cancel := context.WithDeadline(ctx, deadline)
		err := s.runtime.host.waitExit(waiting, identity{PID: first.pid, Start: first.start, Boot: s.runtime.host.boot})
		cancel()
		switch {
		case ctx.Err() != nil:
			return &domain.WorkloadError{
				Reason:  contracts.ReasonStopping,
				Message: fmt.Sprintf("service %q is still being stopped: the wait for process %d was cancelled", s.name, first.pid),
				Cause:   ctx.Err(),
			}
		case err != nil && !time.Now().Before(giveUp):
			return &domain.WorkloadError{
				Reason:  contracts.ReasonStopFailed,
				Message: fmt.Sprintf("service %q was not stopped: process %d did not end within %s of SIGKILL", s.name, first.pid, killPatience),
			}
		}
	}
}

// members returns the service's processes that are alive: those of the
// leader's session, and those that carry its mark.
func (s *service) members(leader identity) []stat {
	session := leader.PID
	// The number of an ended leader stays its session's while a descendant is in
	// it; after that the kernel may give it to anybody.
	if now, err := readStat(session); err == nil && now.start != leader.Start {
		session = 0
	}
	entry := markVariable + "=" + s.mark()
	var found []stat
	for process := range processes() {
		if session > 1 && process.session == session || carries(process.pid, entry) {
			found = append(found, process)
		}
	}
	return found
}

// signalAll signals the members' process groups, so that a child made at this
// moment gets it too. All of a group is the service's: its members share a
// session, and only the service's processes can have made it.
func signalAll(members []stat, signal syscall.Signal) {
	done := map[int]bool{0: true, 1: true, syscall.Getpgrp(): true}
	for _, member := range members {
		if !done[member.group] {
			done[member.group] = true
			_ = syscall.Kill(-member.group, signal)
		}
	}
}
