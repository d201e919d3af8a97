package agent_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

func TestDesiredStateIsAppliedAndReported(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		assert.Zero(t, b.agent.Status().DesiredGeneration)
		b.publish(7, process("web", 3, "serve"))
		assert.Equal(t, []string{"web@3"}, b.onHost())
		assert.Equal(t, []string{"web/Running"}, b.phases())
		report := b.reporter.last(t)
		assert.Equal(t, uint64(7), report.AppliedGeneration)
		assert.Equal(t, uint64(3), report.Deployments[0].Generation)
		assert.Equal(t, contracts.ServiceRunning, report.Deployments[0].Services[0].State)
		status := b.agent.Status()
		assert.Equal(t, uint64(7), status.DesiredGeneration)
		assert.Equal(t, uint64(3), status.Deployments[0].AppliedGeneration)
		assert.Equal(t, []string{contracts.KeyID(publicOf(b.key))}, status.TrustedKeys)
		assert.True(t, status.Link.Connected)
	})
}

func TestWorkloadsRunFromDiskWithoutNetwork(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		b.publish(1, process("web", 1, "serve"))
		b.end()
		b.link.SetConnected(false)
		b.runtime = memory.NewRuntime() // the host lost everything but the disk
		b.counting()
		b.start()
		assert.Equal(t, []string{"web@1"}, b.onHost())
		assert.Equal(t, contracts.PhaseRunning, b.status("web").Phase)
	})
}

func TestRestartAdoptsWithoutTouching(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		b.publish(1, process("web", 1, "serve"))
		pid := b.pid("web")
		since := b.reporter.last(t).Deployments[0].Since
		sent := len(b.reporter.sent())
		b.end()
		assert.Equal(t, pid, b.pid("web"), "workloads go on without the agent")
		b.advance(time.Hour)
		b.start()
		assert.Equal(t, pid, b.pid("web"))
		assert.Empty(t, b.runtime.Stops())
		reports := b.reporter.sent()[sent:]
		require.Len(t, reports, 1, "the report at the connection and no other")
		assert.Equal(t, []string{"web/Running"}, phasesOf(reports[0]))
		assert.Equal(t, since, reports[0].Deployments[0].Since)
	})
}

func TestRestartWaitsForSlowRuntimesBeforeItReports(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.runtimes = []domain.WorkloadRuntime{&slowRuntime{newRuntime(b.runtime)}}
		b.start()
		b.publish(1, process("web", 1, "serve"))
		b.advance(time.Second)
		sent := len(b.reporter.sent())
		b.end()
		b.start()
		b.advance(time.Second)
		for _, report := range b.reporter.sent()[sent:] {
			assert.Equal(t, []string{"web/Running"}, phasesOf(report))
		}
		assert.Greater(t, len(b.reporter.sent()), sent)
	})
}

func TestRefusals(t *testing.T) {
	stranger := keyOf("stranger")
	tests := []struct {
		name     string
		envelope func(t *testing.T, b *bench) []byte
		reason   contracts.RefusalReason
		about    uint64
	}{
		{"garbage", func(*testing.T, *bench) []byte { return []byte("garbage") }, contracts.RefusedMalformed, 0},
		{"not a desired state", func(_ *testing.T, b *bench) []byte {
			return contracts.Sign([]byte(`{"device":"pi-042"}`), b.key)
		}, contracts.RefusedMalformed, 0},
		{"unknown key", func(t *testing.T, _ *bench) []byte {
			t.Helper()
			return contracts.Sign(encode(t, desired(9)), stranger)
		}, contracts.RefusedUnknownKey, 9},
		{"bad signature", func(t *testing.T, b *bench) []byte {
			t.Helper()
			return contracts.SignAs(encode(t, desired(9)), contracts.KeyID(publicOf(b.key)), stranger)
		}, contracts.RefusedBadSignature, 9},
		{"wrong device", func(t *testing.T, b *bench) []byte {
			t.Helper()
			other := desired(9)
			other.Device = "pi-043"
			return contracts.Sign(encode(t, other), b.key)
		}, contracts.RefusedWrongDevice, 9},
		{"older generation", func(t *testing.T, b *bench) []byte {
			t.Helper()
			return contracts.Sign(encode(t, desired(4)), b.key)
		}, contracts.RefusedOlderGeneration, 4},
		{"same generation, another document", func(t *testing.T, b *bench) []byte {
			t.Helper()
			return contracts.Sign(encode(t, desired(5)), b.key)
		}, contracts.RefusedOlderGeneration, 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.start()
				b.publish(5, process("web", 1, "serve"))
				b.advance(2 * time.Minute)
				before, err := b.store.LoadDesired()
				require.NoError(t, err)

				b.offer(test.envelope(t, b))
				b.advance(time.Second)
				report := b.reporter.last(t)
				require.NotNil(t, report.Refused)
				assert.Equal(t, test.reason, report.Refused.Reason)
				assert.Equal(t, test.about, report.Refused.Generation)
				assert.NotEmpty(t, report.Refused.Message)
				assert.Equal(t, uint64(5), report.AppliedGeneration)
				assert.Equal(t, []string{"web@1"}, b.onHost())
				after, err := b.store.LoadDesired()
				require.NoError(t, err)
				assert.Equal(t, before, after, "what is refused does not reach the disk")

				b.publish(10, process("web", 2, "serve"))
				assert.Nil(t, b.reporter.last(t).Refused, "a newer one ends it")
				assert.Equal(t, []string{"web@2"}, b.onHost())
			})
		})
	}
}

func TestLateCopiesMakeNoNoise(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		accepted := contracts.Sign(encode(t, desired(1, process("web", 1, "serve"))), b.key)
		skipped := contracts.Sign(encode(t, desired(2, process("web", 2, "serve"))), b.key)
		b.offer(accepted)
		b.publish(3, process("web", 3, "serve"))
		b.offer(skipped)
		b.advance(time.Hour)
		b.offer(accepted)
		b.advance(time.Second)
		assert.Nil(t, b.agent.Status().Refused)
		assert.Equal(t, []string{"web@3"}, b.onHost())
	})
}

func TestNothingIsRemovedWithoutVerifiedState(t *testing.T) {
	tests := []struct {
		name string
		disk func(t *testing.T, b *bench)
	}{
		{"no desired state was ever known", func(*testing.T, *bench) {}},
		{"the one on disk is garbage", func(t *testing.T, b *bench) {
			t.Helper()
			require.NoError(t, b.store.SaveDesired([]byte("{}")))
		}},
		{"the one on disk is not trusted", func(t *testing.T, b *bench) {
			t.Helper()
			require.NoError(t, b.store.SaveDesired(contracts.Sign(encode(t, desired(1)), keyOf("stranger"))))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.start()
				b.publish(1, process("old", 1, "serve"))
				b.end()
				// The host still runs "old", and the disk is another one.
				b.store = agent.NewMemoryStore()
				test.disk(t, b)
				b.link.SetConnected(false)
				b.start()
				b.advance(time.Hour)
				assert.Equal(t, []string{"old@1"}, b.onHost())
				b.link.SetConnected(true)
				b.publish(2, process("new", 1, "serve"))
				assert.Equal(t, []string{"new@1"}, b.onHost())
			})
		})
	}
}

// brokenStore is a disk that can refuse writes.
type brokenStore struct {
	*agent.MemoryStore
	broken atomic.Bool
	// before is called when desired state is about to be written.
	before func()
	writes atomic.Int32
}

var errBroken = errors.New("no space left on device")

func (s *brokenStore) SaveDesired(envelope []byte) error {
	if s.before != nil {
		s.before()
	}
	if s.broken.Load() {
		return errBroken
	}
	s.writes.Add(1)
	return s.MemoryStore.SaveDesired(envelope)
}

func (s *brokenStore) SaveReport(report contracts.DeviceReport) error {
	if s.broken.Load() {
		return errBroken
	}
	s.writes.Add(1)
	return s.MemoryStore.SaveReport(report)
}

func TestDesiredStateIsSavedBeforeActing(t *testing.T) {
	inBubble(t, func(b *bench) {
		store := &brokenStore{MemoryStore: agent.NewMemoryStore()}
		saves := 0
		store.before = func() {
			saves++
			assert.Empty(t, b.onHost())
			assert.Zero(t, b.agent.Status().DesiredGeneration)
		}
		b.store = store
		b.start()
		b.publish(1, process("web", 1, "serve"))
		assert.Equal(t, 1, saves)
		assert.Equal(t, []string{"web@1"}, b.onHost())
	})
}

func TestFullDiskDoesNotTakeTheDeviceAway(t *testing.T) {
	inBubble(t, func(b *bench) {
		store := &brokenStore{MemoryStore: agent.NewMemoryStore()}
		b.store = store
		b.start()
		b.publish(1, process("hog", 1, "serve"))
		store.broken.Store(true)
		b.publish(2)
		assert.Empty(t, b.onHost(), "what fills the disk can be removed")
		assert.Contains(t, b.agent.Status().DesiredProblem, "no space left")
		store.broken.Store(false)
		b.advance(time.Minute)
		assert.Empty(t, b.agent.Status().DesiredProblem)
		b.end()
		b.link.SetConnected(false)
		b.start()
		assert.Equal(t, uint64(2), b.agent.Status().DesiredGeneration)
	})
}

func TestUnusableIdentityIsAnError(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.options.Version = "not a version"
		b.begin()
		b.stop = nil
		require.Error(t, <-b.done)
	})
}
