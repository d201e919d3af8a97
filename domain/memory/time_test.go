package memory_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// background runs block until the test ends, and fails the test on an error.
func background(t *testing.T, block func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- block(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
}

func TestLinkWatchersHearEachChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		fleet := memory.New()
		device := fleet.Device("pi-1")
		var states []domain.LinkState
		background(t, func(ctx context.Context) error {
			return device.Watch(ctx, func(state domain.LinkState) { states = append(states, state) })
		})
		for _, change := range []func(){
			func() {},
			func() { device.SetConnected(false) },
			func() { device.SetConnected(false) }, // no change
			func() { device.SetConnected(true) },
			fleet.Stop,
			fleet.Start,
		} {
			time.Sleep(time.Hour)
			change()
			synctest.Wait()
		}
		require.Equal(t, []domain.LinkState{
			{Connected: true, Server: "memory", Since: began},
			{Since: began.Add(2 * time.Hour), Problem: "the device's link is cut"},
			{Connected: true, Server: "memory", Since: began.Add(4 * time.Hour)},
			{Since: began.Add(5 * time.Hour), Problem: "the fleet's backend is stopped"},
			{Connected: true, Server: "memory", Since: began.Add(6 * time.Hour)},
		}, states)
	})
}

func TestStoppedBackendIsUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		fleet := memory.New()
		device, err := fleet.Devices().Create(ctx, domain.FleetDevice{ID: "pi-1"})
		require.NoError(t, err)
		var seen []domain.DeviceChange
		background(t, func(ctx context.Context) error {
			return fleet.Devices().Watch(ctx, 0, func(change domain.DeviceChange) error {
				seen = append(seen, change)
				return nil
			})
		})
		synctest.Wait()

		fleet.Stop()
		_, err = fleet.Devices().Get(ctx, "pi-1")
		require.ErrorIs(t, err, domain.ErrUnavailable)
		_, err = fleet.Deployments().Get(ctx, "web")
		require.ErrorIs(t, err, domain.ErrUnavailable)
		_, err = fleet.Statuses().Get(ctx, "web")
		require.ErrorIs(t, err, domain.ErrUnavailable)
		_, err = fleet.Desired().Get(ctx, "pi-1")
		require.ErrorIs(t, err, domain.ErrUnavailable)
		require.ErrorIs(t, fleet.Observed().Forget(ctx, "pi-1"), domain.ErrUnavailable)
		require.ErrorIs(t, fleet.Device("pi-1").Heartbeat(ctx, contracts.Heartbeat{}), domain.ErrUnavailable)
		_, err = fleet.Commands().Call(ctx, "pi-1", contracts.VerbPing, nil)
		require.ErrorIs(t, err, domain.ErrUnavailable)
		require.ErrorIs(t, fleet.Events().Append(ctx, contracts.Event{Kind: contracts.EventDeviceOnline, Device: "pi-1"}), domain.ErrUnavailable)

		fleet.Start()
		_, err = fleet.Devices().Update(ctx, device)
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, seen, 3, "the watch has gone on")
	})
}

func TestStoppedBackendDeposesTheLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fleet := memory.New()
		terms := 0
		background(t, func(ctx context.Context) error {
			return fleet.Elector("a").Lead(ctx, func(ctx context.Context) error {
				terms++
				<-ctx.Done()
				return ctx.Err()
			})
		})
		synctest.Wait()
		require.Equal(t, "a", fleet.Leader())
		fleet.Stop()
		synctest.Wait()
		require.Empty(t, fleet.Leader())
		time.Sleep(time.Hour)
		require.Equal(t, 1, terms)
		fleet.Start()
		synctest.Wait()
		require.Equal(t, "a", fleet.Leader())
		require.Equal(t, 2, terms)
	})
}

func TestCommandEndsWithTheLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fleet := memory.New()
		device := fleet.Device("pi-1")
		background(t, func(ctx context.Context) error {
			return device.Serve(ctx, func(ctx context.Context, _ contracts.Verb, _ []byte) []byte {
				<-ctx.Done()
				return nil
			})
		})
		synctest.Wait()
		time.AfterFunc(time.Minute, func() { device.SetConnected(false) })
		began := time.Now()
		_, err := fleet.Commands().Call(t.Context(), "pi-1", contracts.VerbPing, nil)
		require.ErrorIs(t, err, domain.ErrUnavailable)
		require.Equal(t, time.Minute, time.Since(began))
	})
}

func TestEventsAreBounded(t *testing.T) {
	t.Parallel()
	const kept, appended = 10_000, 30_000
	log := memory.New().Events()
	for n := range appended {
		require.NoError(t, log.Append(t.Context(), contracts.Event{Kind: contracts.EventDeviceOnline, Device: "pi-1", Message: fmt.Sprint(n)}))
	}
	var got []string
	require.NoError(t, log.Read(t.Context(), domain.EventQuery{}, func(event contracts.Event) error {
		got = append(got, event.Message)
		return nil
	}))
	require.Len(t, got, kept)
	require.Equal(t, fmt.Sprint(appended-kept), got[0])
	require.Equal(t, fmt.Sprint(appended-1), got[kept-1])
}

func processes(program string, restart contracts.RestartPolicy) domain.Workload {
	return domain.Workload{Name: "web", Generation: 1, Score: score(contracts.ScoreProcessV0, program, restart, 0, map[string]int{"main": 1})}
}

func only(t *testing.T, runtime *memory.Runtime) (domain.WorkloadStatus, contracts.ServiceReport) {
	t.Helper()
	all, err := runtime.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Len(t, all[0].Services, 1)
	return all[0], all[0].Services[0]
}

func noProgress(contracts.Reason, string) {}

func TestCrashLoopBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runtime := memory.NewRuntime()
		runtime.Behave("crashing", memory.Behaviour{Exits: true, ExitCode: 1})
		require.NoError(t, runtime.Apply(t.Context(), processes("crashing", ""), noProgress))
		var heard []time.Duration
		began := time.Now()
		background(t, func(ctx context.Context) error {
			return runtime.Watch(ctx, func(contracts.DeploymentName) { heard = append(heard, time.Since(began)) })
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		status, service := only(t, runtime)
		require.Equal(t, contracts.ReasonCrashLoop, status.Reason)
		require.InDelta(t, 360, float64(service.Restarts), 10, "one every ten seconds")
		require.Contains(t, heard, 200*time.Millisecond, "the watch hears of a restart when it happens")
		require.Contains(t, heard, 600*time.Millisecond)
	})
}

func TestCrashesAreForgottenOnceStable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runtime := memory.NewRuntime()
		require.NoError(t, runtime.Apply(t.Context(), processes("steady", ""), noProgress))
		for range 3 {
			require.True(t, runtime.Crash("web", "main", 1))
			require.False(t, runtime.Crash("web", "main", 1), "it does not run")
			time.Sleep(time.Second)
		}
		status, service := only(t, runtime)
		require.Equal(t, contracts.ReasonCrashLoop, status.Reason)
		require.Equal(t, contracts.ServiceRunning, service.State)
		time.Sleep(10 * time.Second)
		status, service = only(t, runtime)
		require.Empty(t, status.Reason)
		require.EqualValues(t, 3, service.Restarts)
	})
}

func TestBlockedApply(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runtime := memory.NewRuntime()
		runtime.Behave("slow", memory.Behaviour{Block: true, BlockReason: contracts.ReasonImagePulling, Message: "40 %"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var told []contracts.Reason
		err := runtime.Apply(ctx, processes("slow", ""), func(reason contracts.Reason, _ string) { told = append(told, reason) })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, []contracts.Reason{contracts.ReasonImagePulling}, told)

		time.AfterFunc(time.Hour, func() { runtime.Behave("slow", memory.Behaviour{}) })
		began := time.Now()
		require.NoError(t, runtime.Apply(t.Context(), processes("slow", ""), noProgress))
		require.Equal(t, time.Hour, time.Since(began))
	})
}

func TestRebootStartsWhatAlwaysRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for restart, want := range map[contracts.RestartPolicy]contracts.ServiceState{
			contracts.RestartAlways: contracts.ServiceRunning,
			contracts.RestartNever:  contracts.ServiceExited,
		} {
			runtime := memory.NewRuntime()
			require.NoError(t, runtime.Apply(t.Context(), processes("steady", restart), noProgress))
			_, before := only(t, runtime)
			runtime.Reboot()
			_, after := only(t, runtime)
			require.Equal(t, want, after.State)
			require.NotEqual(t, before.PID, after.PID)
		}
	})
}

func TestTokensAreRenewedAndExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		identity := memory.NewIdentity()
		first, err := identity.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(50 * time.Minute)
		cached, err := identity.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, first, cached)
		time.Sleep(6 * time.Minute)
		renewed, err := identity.Token(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, first.Value, renewed.Value)

		principal, err := identity.Verify(t.Context(), first.Value)
		require.NoError(t, err)
		require.True(t, slices.Contains(principal.Roles, domain.RoleOperator))
		time.Sleep(4 * time.Minute)
		_, err = identity.Verify(t.Context(), first.Value)
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
	})
}

func TestUnconfirmedVersionGivesWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lifecycle := memory.NewLifecycle("1.0.0")
		lifecycle.Offer("https://releases.example/2", nil)
		const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		require.NoError(t, lifecycle.Stage(t.Context(), domain.AgentRelease{Version: "2.0.0", URL: "https://releases.example/2", SHA256: emptySHA256}))
		require.NoError(t, lifecycle.Verify(t.Context(), "2.0.0"))
		require.NoError(t, lifecycle.CutOver(t.Context(), "2.0.0"))
		time.Sleep(4 * time.Minute)
		require.Equal(t, "2.0.0", lifecycle.Running())
		time.Sleep(time.Minute)
		require.Equal(t, "1.0.0", lifecycle.Running())
	})
}
