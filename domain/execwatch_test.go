package domain_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// inExec runs a test with a command under way on a device whose agent can be
// killed: nobody hears then of the command's end.
func inExec(t *testing.T, test func(a *audited, kill, start func(), ended func() (contracts.ExecResult, error))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := &audited{t: t, fleet: memory.New(), began: time.Now(), holds: make(chan struct{})}
		ctx, kill := context.WithCancel(t.Context())
		served := make(chan error, 2)
		serve := func(ctx context.Context) {
			a.began = time.Now()
			go func() { served <- a.fleet.Device("pi-1").Serve(ctx, a.answer) }()
			synctest.Wait()
		}
		serve(ctx)
		agents := 1
		<-time.After(time.Hour)
		var result contracts.ExecResult
		done := make(chan error, 1)
		go func() {
			var err error
			result, err = a.exec(t.Context(), a.fleet.Events(), "sleep", "100")
			done <- err
		}()
		synctest.Wait()
		again, end := context.WithCancel(t.Context())
		test(a, func() { kill(); synctest.Wait() }, func() { serve(again); agents++ }, func() (contracts.ExecResult, error) {
			return result, <-done
		})
		kill()
		end()
		select {
		case <-a.holds:
		default:
			close(a.holds)
		}
		for range agents {
			require.NoError(t, <-served)
		}
	})
}

func TestExecWhoseAgentIsKilledEndsSoon(t *testing.T) {
	inExec(t, func(a *audited, kill, _ func(), ended func() (contracts.ExecResult, error)) {
		<-time.After(30 * time.Second)
		began := time.Now()
		kill()
		_, err := ended()
		require.ErrorIs(a.t, err, domain.ErrUnavailable)
		assert.ErrorContains(a.t, err, `device "pi-1" lost its agent or its connection`)
		assert.LessOrEqual(a.t, time.Since(began), 10*time.Second)
		a.requireReasons(domain.ExecRequested, "Unavailable")
	})
}

func TestExecWhoseAgentIsStartedAgainEndsSoon(t *testing.T) {
	inExec(t, func(a *audited, kill, start func(), ended func() (contracts.ExecResult, error)) {
		<-time.After(20 * time.Second)
		kill()
		start()
		_, err := ended()
		require.ErrorIs(a.t, err, domain.ErrUnavailable)
		assert.ErrorContains(a.t, err, "was started again while the command ran")
		a.requireReasons(domain.ExecRequested, "Unavailable")
	})
}

func TestExecThatTakesItsTimeHasItsResult(t *testing.T) {
	inExec(t, func(a *audited, _, _ func(), ended func() (contracts.ExecResult, error)) {
		<-time.After(50 * time.Second)
		a.result = contracts.ExecResult{ExitCode: 7}
		close(a.holds)
		result, err := ended()
		require.NoError(a.t, err)
		assert.Equal(a.t, 7, result.ExitCode)
	})
}

// scriptedBus answers pings one after the other as told, and a command once all
// were asked for.
type scriptedBus struct {
	pings []error
	all   chan struct{}
}

func (b *scriptedBus) Call(ctx context.Context, device contracts.DeviceID, verb contracts.Verb, _ []byte) ([]byte, error) {
	if verb == contracts.VerbExec {
		select {
		case <-b.all:
			return domain.Answer(contracts.ExecResult{ExitCode: 5}, nil), nil
		case <-ctx.Done():
			return nil, domain.WrapError(domain.ErrUnavailable, ctx.Err(), "device %q", device)
		}
	}
	err := b.pings[0]
	if b.pings = b.pings[1:]; len(b.pings) == 0 {
		close(b.all)
	}
	return domain.Answer(contracts.PingResult{AgentVersion: "v1", Time: time.Now(), Uptime: contracts.Duration(time.Hour)}, nil), err
}

// What may pass gives nothing up: one look that found nobody, a slow link, a
// device that is busy or that does not let us ask.
func TestExecIsNotGivenUpTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := domain.Errorf(domain.ErrUnavailable, "no answer in time")
		bus := &scriptedBus{
			pings: []error{domain.ErrOffline, nil, domain.ErrOffline, slow, domain.ErrOffline, domain.ErrPermissionDenied, slow, slow, slow, nil},
			all:   make(chan struct{}),
		}
		request := contracts.ExecRequest{Command: []string{"sleep", "100"}, Timeout: contracts.Duration(time.Minute)}
		result, err := domain.Exec(t.Context(), bus, memory.New().Events(), "cli:ana", "pi-1", request)
		require.NoError(t, err)
		assert.Equal(t, 5, result.ExitCode)
	})
}
