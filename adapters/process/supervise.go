package process

import (
	"context"
	"log/slog"
	"time"
)

// supervise starts the process again as its policy says, until ctx is done or
// the service is removed.
func (s *service) supervise(ctx context.Context) {
	for ctx.Err() == nil {
		st := s.snapshot()
		switch {
		case st.removed:
			return
		case st.record.Process.PID != 0:
			if s.runtime.host.waitExit(ctx, st.record.Process) == nil {
				s.afterExit(ctx, st.record.Process)
				if s.snapshot().record.Process == st.record.Process {
					// It could not be looked at: no file descriptor was left, say.
					pause(ctx, nil, s.runtime.host.poll)
				}
			}
		case st.record.due():
			if pause(ctx, s.changed, time.Until(st.next)) {
				s.restart(ctx)
			}
		default:
			select {
			case <-ctx.Done():
			case <-s.changed:
			}
		}
	}
}

// afterExit takes note of the end and ends what the process left behind.
func (s *service) afterExit(ctx context.Context, id identity) {
	if s.lock(ctx) != nil {
		return
	}
	defer s.unlock()
	s.settle()
	if st := s.snapshot(); st.removed || st.record.Process.PID != 0 {
		return // removed, or started again meanwhile
	}
	// Its session's number is not given away while a descendant is in it.
	if err := s.endLeftovers(ctx, id); err != nil && ctx.Err() == nil {
		s.logger().Warn("descendants of an ended process not stopped", slog.Any("error", err))
	}
}

func (s *service) restart(ctx context.Context) {
	if s.lock(ctx) != nil {
		return
	}
	defer s.unlock()
	st := s.snapshot()
	if st.removed || st.record.Process.PID != 0 || !st.record.due() || time.Now().Before(st.next) {
		return // somebody else acted meanwhile
	}
	if err := s.begin(ctx, st.record.Ended); err != nil && ctx.Err() == nil {
		s.logger().Warn("service process not started", slog.Any("error", err))
	}
	s.runtime.hints.tell(s.deployment)
}
