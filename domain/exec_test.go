package domain_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// audited is a fleet whose device answers commands.
type audited struct {
	t      *testing.T
	fleet  *memory.Fleet
	result contracts.ExecResult
	err    error
	hang   bool
	asked  []contracts.ExecRequest
	// began is when the agent says that it was started.
	began time.Time
	// holds, while it is open, is what commands wait for, whatever happens to the
	// agent that runs them.
	holds chan struct{}
}

func inAudit(t *testing.T, test func(a *audited)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := &audited{t: t, fleet: memory.New(), began: time.Now()}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.fleet.Device("pi-1").Serve(ctx, a.answer) }()
		synctest.Wait()
		test(a)
		cancel()
		require.NoError(t, <-done)
	})
}

func (a *audited) answer(ctx context.Context, verb contracts.Verb, body []byte) []byte {
	if verb == contracts.VerbPing {
		return domain.Answer(contracts.PingResult{AgentVersion: "v1", Time: time.Now(), Uptime: contracts.Duration(time.Since(a.began))}, nil)
	}
	request, err := contracts.Decode[contracts.ExecRequest](body)
	assert.NoError(a.t, err)
	a.asked = append(a.asked, request)
	if a.hang {
		<-ctx.Done()
	}
	if a.holds != nil {
		<-a.holds
	}
	return domain.Answer(a.result, a.err)
}

func (a *audited) exec(ctx context.Context, log domain.EventLog, words ...string) (contracts.ExecResult, error) {
	request := contracts.ExecRequest{Deployment: "web", Service: "main", Command: words, Timeout: contracts.Duration(time.Minute)}
	return domain.Exec(ctx, a.fleet.Commands(), log, "cli:ana", "pi-1", request)
}

func (a *audited) events() []contracts.Event {
	a.t.Helper()
	var events []contracts.Event
	require.NoError(a.t, a.fleet.Events().Read(a.t.Context(), domain.EventQuery{}, func(e contracts.Event) error {
		events = append(events, e)
		return nil
	}))
	return events
}

func (a *audited) requireReasons(reasons ...string) []contracts.Event {
	a.t.Helper()
	events := a.events()
	got := make([]string, len(events))
	for i, e := range events {
		got[i] = e.Reason
		assert.Equal(a.t, contracts.EventCommandExecuted, e.Kind)
		assert.Equal(a.t, contracts.DeviceID("pi-1"), e.Device)
		assert.Equal(a.t, contracts.DeploymentName("web"), e.Deployment)
		assert.Equal(a.t, "cli:ana", e.Actor)
	}
	require.Equal(a.t, reasons, got)
	return events
}

func TestExecIsRecorded(t *testing.T) {
	inAudit(t, func(a *audited) {
		a.result = contracts.ExecResult{ExitCode: 3, Output: []byte("s3cr3t")}
		result, err := a.exec(a.t.Context(), a.fleet.Events(), "ls", "-l", "my dir", "")
		require.NoError(t, err)
		assert.Equal(t, a.result, result)
		events := a.requireReasons(domain.ExecRequested, domain.ExecExited)
		assert.Equal(t, `ls -l "my dir" "" (in service main, at most 1m0s)`, events[0].Message)
		assert.Equal(t, `exit code 3: ls -l "my dir" "" (in service main, at most 1m0s)`, events[1].Message)
	})
}

func TestExecEndIsRecorded(t *testing.T) {
	refused := domain.Errorf(domain.ErrPermissionDenied, "no")
	for reason, prepare := range map[string]func(*audited){
		domain.ExecTimedOut: func(a *audited) { a.result = contracts.ExecResult{ExitCode: 137, TimedOut: true} },
		"PermissionDenied":  func(a *audited) { a.err = refused },
		"Unavailable":       func(a *audited) { a.fleet.Device("pi-1").SetConnected(false) },
	} {
		t.Run(reason, func(t *testing.T) {
			inAudit(t, func(a *audited) {
				prepare(a)
				_, _ = a.exec(a.t.Context(), a.fleet.Events(), "ls")
				a.requireReasons(domain.ExecRequested, reason)
			})
		})
	}
}

func TestExecThatIsAbandonedIsRecorded(t *testing.T) {
	inAudit(t, func(a *audited) {
		a.hang = true
		ctx, cancel := context.WithCancel(a.t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := a.exec(ctx, a.fleet.Events(), "sleep", "100")
			done <- err
		}()
		synctest.Wait()
		a.requireReasons(domain.ExecRequested) // a client that is killed now hides nothing
		cancel()
		require.Error(t, <-done)
		a.requireReasons(domain.ExecRequested, domain.ExecAbandoned)
	})
}

// fullLog takes so many events.
type fullLog struct {
	domain.EventLog
	room int
}

var errFull = errors.New("full")

func (l *fullLog) Append(ctx context.Context, event contracts.Event) error {
	if l.room--; l.room < 0 {
		return domain.WrapError(domain.ErrUnavailable, errFull, "append")
	}
	return l.EventLog.Append(ctx, event)
}

func TestExecIsNotSentUnrecorded(t *testing.T) {
	inAudit(t, func(a *audited) {
		_, err := a.exec(a.t.Context(), &fullLog{EventLog: a.fleet.Events()}, "reboot")
		require.ErrorIs(t, err, errFull)
		assert.Empty(t, a.asked)
	})
}

func TestExecWhoseEndIsNotRecordedHasItsResult(t *testing.T) {
	inAudit(t, func(a *audited) {
		a.result = contracts.ExecResult{ExitCode: 4}
		result, err := a.exec(a.t.Context(), &fullLog{EventLog: a.fleet.Events(), room: 1}, "reboot")
		var unrecorded *domain.UnrecordedError
		require.ErrorAs(t, err, &unrecorded)
		require.ErrorIs(t, err, errFull)
		assert.True(t, unrecorded.Sent)
		assert.Equal(t, 4, result.ExitCode)
	})
}

func TestExecWithManyWordsIsRecorded(t *testing.T) {
	inAudit(t, func(a *audited) {
		_, err := a.exec(a.t.Context(), a.fleet.Events(), "echo", strings.Repeat("x\n", 3000))
		require.NoError(t, err)
		events := a.requireReasons(domain.ExecRequested, domain.ExecExited)
		assert.LessOrEqual(t, len(events[0].Message), contracts.MaxMessageBytes)
	})
}

func TestExecThatIsNotValidIsNotRecorded(t *testing.T) {
	inAudit(t, func(a *audited) {
		_, err := a.exec(a.t.Context(), a.fleet.Events())
		require.ErrorIs(t, err, domain.ErrInvalid)
		assert.Empty(t, a.events())
	})
}
