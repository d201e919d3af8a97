package operator_test

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/operator"
)

var (
	paris = contracts.Labels{"site": "paris"}
	lyon  = contracts.Labels{"site": "lyon"}
)

type (
	id   = contracts.DeviceID
	name = contracts.DeploymentName
)

func TestDevicesGetWhatTheirLabelsCallFor(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", paris)
		f.register("d2", lyon)
		f.apply(process("web", paris, "serve"))
		f.apply(process("agentless", nil, "watch"))
		f.start()
		assert.Equal(t, map[name]string{"web": "serve", "agentless": "watch"}, f.runs("d1"))
		assert.Equal(t, map[name]string{"agentless": "watch"}, f.runs("d2"))
		assert.Equal(t, uint64(1), f.document("d1").Generation, "one document for both deployments")
		assert.Equal(t, 30*time.Second, f.document("d1").HeartbeatInterval.Std())
		assert.Equal(t, operator.PhaseConverged, f.operator.Status().Phase)
		f.faults.took()

		f.edit("d2", func(d *domain.FleetDevice) { d.Labels = paris })
		f.settle()
		assert.Equal(t, map[name]string{"web": "serve", "agentless": "watch"}, f.runs("d2"))
		assert.Equal(t, uint64(2), f.document("d2").Generation)
		assert.Equal(t, []id{"d2"}, f.faults.took(), "nobody else's document is written")

		f.apply(process("web", lyon, "serve"))
		f.settle()
		assert.Equal(t, []name{"agentless"}, names(f.runs("d1")))
		assert.Equal(t, []name{"agentless"}, names(f.runs("d2")))
		assert.Len(t, f.faults.took(), 2)

		f.register("d3", lyon)
		f.settle()
		assert.Equal(t, []name{"agentless", "web"}, names(f.runs("d3")))
		assert.Equal(t, []id{"d3"}, f.faults.took())
	})
}

func TestEveryRegisteredDeviceHasADocument(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.start()
		f.register("d1", nil)
		f.settle()
		require.NotNil(t, f.document("d1"))
		assert.Empty(t, f.document("d1").Deployments)
	})
}

func TestReportedLabelsSelectUnderTheirPrefixOnly(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("bare", contracts.Labels{"arch": "arm64"}, "x"))
		f.apply(process("marked", contracts.Labels{contracts.ReportedLabelPrefix + "arch": "arm64"}, "x"))
		f.apply(process("one", contracts.Labels{contracts.DeviceLabel: "d1"}, "x"))
		f.apply(process("other", contracts.Labels{contracts.DeviceLabel: "d2"}, "x"))
		f.start()
		assert.Equal(t, []name{"one"}, names(f.runs("d1")))
		f.agent("d1", contracts.Labels{"arch": "arm64"})
		f.settle()
		assert.Equal(t, []name{"marked", "one"}, names(f.runs("d1")))
	})
}

func TestUnchangedDocumentsAreNotWrittenAgain(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", paris)
		f.register("d2", lyon)
		f.apply(process("web", nil, "serve {{ .device.labels.site }}"))
		f.agent("d1", nil)
		f.start()
		f.faults.took()
		puts := f.faults.puts("web")
		assert.Positive(t, puts)
		f.restart()
		f.pass(time.Minute)
		assert.Empty(t, f.faults.took())
		assert.Zero(t, f.faults.puts("web"), "an unchanged status is not written again either")

		f.edit("d2", func(d *domain.FleetDevice) { d.Labels = contracts.Labels{"site": "lyon", "rack": "7"} })
		f.settle()
		assert.Empty(t, f.faults.took(), "a label that no document holds changes none")
	})
}

func TestNothingIsWrittenBeforeEverythingIsKnown(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		hold := make(chan struct{})
		f.faults.holdCaughtUp = hold
		f.start()
		f.pass(time.Hour)
		assert.Empty(t, f.faults.took())
		assert.Nil(t, f.status("web"))
		assert.Equal(t, operator.PhaseRecovering, f.operator.Status().Phase)
		close(hold)
		f.settle()
		assert.Equal(t, []name{"web"}, names(f.runs("d1")))
		assert.Equal(t, operator.PhaseConverged, f.operator.Status().Phase)
	})
}

func TestAMissingLabelTakesNothingAway(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", paris)
		f.register("d2", nil)
		f.apply(process("web", nil, "serve-{{ .device.labels.site }}"))
		f.apply(process("other", nil, "one"))
		f.agent("d1", nil)
		f.start()
		assert.Equal(t, map[name]string{"web": "serve-paris", "other": "one"}, f.runs("d1"))
		assert.Equal(t, map[name]string{"other": "one"}, f.runs("d2"), "there was nothing to keep")

		f.edit("d1", func(d *domain.FleetDevice) { d.Labels = nil })
		f.apply(process("other", nil, "two"))
		f.settle()
		assert.Equal(t, map[name]string{"web": "serve-paris", "other": "two"}, f.runs("d1"), "the rest goes on")
		f.restart()
		f.apply(process("web", nil, "serve2-{{ .device.labels.site }}"))
		f.settle()
		assert.Equal(t, map[name]string{"web": "serve-paris", "other": "two"}, f.runs("d1"))
		assert.Equal(t, uint64(1), f.document("d1").Deployments[1].Generation, "the entry is the old one")

		status := f.status("web")
		assert.Equal(t, 2, status.Failed)
		require.Len(t, status.Problems, 2)
		assert.Equal(t, contracts.ReasonInvalidScore, status.Problems[0].Reason)
		assert.Contains(t, status.Problems[0].Message, `"site"`)
		assert.Equal(t, contracts.ConditionTrue, status.Condition(contracts.ConditionStalled).Status)

		f.edit("d1", func(d *domain.FleetDevice) { d.Labels = lyon })
		f.settle()
		assert.Equal(t, "serve2-lyon", f.runs("d1")["web"])
		assert.Equal(t, 1, f.status("web").Failed)
	})
}

func TestAnExpansionThatIsNotValidTakesNothingAway(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		d := process("web", nil, "serve")
		d.Spec.Score = contracts.ReconcileScore{Type: contracts.ScorePodmanV0, Data: []byte(
			`{"services":[{"name":"web","image":"registry.example/web:1","ports":["{{ .device.labels.port }}:80"]}]}`)}
		f.register("d1", contracts.Labels{"port": "8080"})
		f.apply(d)
		f.start()
		before := f.document("d1")
		require.Len(t, before.Deployments, 1)
		f.edit("d1", func(d *domain.FleetDevice) { d.Labels = contracts.Labels{"port": "http"} })
		f.settle()
		assert.Equal(t, before, f.document("d1"))
		assert.Contains(t, f.status("web").Problems[0].Message, "ports[0]")
	})
}

func TestALostDocumentThatCannotBeComposedIsLeftAlone(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", paris)
		f.apply(process("web", nil, "serve-{{ .device.labels.site }}"))
		f.agent("d1", nil)
		f.start()
		f.settle()
		f.stop()
		stored, err := f.backend.Desired().Get(t.Context(), "d1")
		require.NoError(t, err)
		require.NoError(t, f.backend.Desired().Remove(t.Context(), "d1", stored.Revision))
		f.edit("d1", func(d *domain.FleetDevice) { d.Labels = nil })
		f.start()
		f.pass(time.Minute)
		assert.Nil(t, f.document("d1"), "a document without web would stop it")
		assert.Equal(t, 1, f.operator.Status().Blocked)
		assert.Equal(t, operator.PhaseConverged, f.operator.Status().Phase)
		assert.Equal(t, 1, f.status("web").Failed)

		f.edit("d1", func(d *domain.FleetDevice) { d.Labels = lyon })
		f.settle()
		assert.Equal(t, map[name]string{"web": "serve-lyon"}, f.runs("d1"))
		assert.Equal(t, uint64(2), f.document("d1").Generation)
		assert.Zero(t, f.operator.Status().Blocked)
	})
}

func TestGenerationsNeverGoBack(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		a := f.agent("d1", nil)
		f.settle()
		assert.Empty(t, f.events(contracts.EventDesiredStateLost))
		a.edit(func(a *agent) { a.report.AppliedGeneration = 41 })
		f.pass(time.Minute)
		assert.Equal(t, uint64(42), f.document("d1").Generation)
		assert.Equal(t, []name{"web"}, names(f.runs("d1")))
		assert.Len(t, f.events(contracts.EventDesiredStateLost), 1)
		f.faults.took()
		f.restart()
		assert.Empty(t, f.faults.took())
		assert.Len(t, f.events(contracts.EventDesiredStateLost), 1)

		a.edit(func(a *agent) { a.report.AppliedGeneration = contracts.MaxGeneration })
		f.pass(time.Minute)
		assert.Equal(t, uint64(42), f.document("d1").Generation, "there is no higher generation")
		assert.Equal(t, 1, f.operator.Status().Blocked)

		a.edit(func(a *agent) { a.report.AppliedGeneration = contracts.MaxGeneration - 1 })
		f.pass(time.Minute)
		assert.Equal(t, uint64(42), f.document("d1").Generation, "the last generation there is must not be published")

		a.edit(func(a *agent) { a.report.AppliedGeneration = 42 })
		f.pass(time.Minute)
		f.apply(process("web", nil, "serve2"))
		f.pass(time.Minute)
		assert.Zero(t, f.operator.Status().Blocked)
		assert.Equal(t, uint64(43), f.document("d1").Generation, "an honest device gets its state again")
	})
}

func TestDocumentsThatVanishArePublishedAgain(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		f.agent("d1", nil)
		stored, err := f.backend.Desired().Get(t.Context(), "d1")
		require.NoError(t, err)
		require.NoError(t, f.backend.Desired().Remove(t.Context(), "d1", stored.Revision))
		f.apply(process("web", nil, "serve2"))
		f.settle()
		assert.Equal(t, map[name]string{"web": "serve2"}, f.runs("d1"))
		assert.Equal(t, uint64(2), f.document("d1").Generation)
		assert.Len(t, f.events(contracts.EventDesiredStateLost), 1)
	})
}

func TestConflictsAreResolvedByReadingAgain(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		public, _ := testKey().Public().(ed25519.PublicKey)
		other, err := contracts.Encode(contracts.DesiredState{Device: "d1", Generation: 9, HeartbeatInterval: contracts.DefaultHeartbeatInterval})
		require.NoError(t, err)
		stored, err := f.backend.Desired().Get(t.Context(), "d1")
		require.NoError(t, err)
		result := f.backend.Desired().Publish(t.Context(), []domain.DesiredDocument{{
			Device: "d1", Revision: stored.Revision, Envelope: contracts.SignAs(other, contracts.KeyID(public), testKey()),
		}})
		require.NoError(t, result[0].Err)
		f.apply(process("web", nil, "serve2"))
		f.settle()
		assert.Equal(t, map[name]string{"web": "serve2"}, f.runs("d1"))
		assert.Equal(t, uint64(10), f.document("d1").Generation)
	})
}

func TestAStoreThatWentBackInTime(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		relabel := func(labels contracts.Labels) {
			f.edit("d1", func(d *domain.FleetDevice) { d.Labels = labels })
			f.settle()
		}
		f.register("d1", paris)
		f.apply(process("web", nil, "serve-{{ .device.labels.site }}"))
		f.start()
		first, err := f.backend.Desired().Get(t.Context(), "d1")
		require.NoError(t, err)
		relabel(lyon)
		second, err := f.backend.Desired().Get(t.Context(), "d1")
		require.NoError(t, err)
		first.Revision = second.Revision
		require.NoError(t, f.backend.Desired().Publish(t.Context(), []domain.DesiredDocument{first})[0].Err)
		relabel(paris)
		assert.Equal(t, map[name]string{"web": "serve-paris"}, f.runs("d1"))
		assert.Equal(t, uint64(3), f.document("d1").Generation, "the same as the first, but devices may have the second")
	})
}

func TestAForeignDocumentIsReplaced(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		foreign, err := contracts.Encode(contracts.DesiredState{Device: "d1", Generation: contracts.MaxGeneration, HeartbeatInterval: contracts.DefaultHeartbeatInterval})
		require.NoError(t, err)
		_, key, err := ed25519.GenerateKey(nil)
		require.NoError(t, err)
		result := f.backend.Desired().Publish(t.Context(), []domain.DesiredDocument{{Device: "d1", Envelope: contracts.Sign(foreign, key)}})
		require.NoError(t, result[0].Err)
		f.start()
		assert.Equal(t, map[name]string{"web": "serve"}, f.runs("d1"))
		assert.Equal(t, uint64(1), f.document("d1").Generation, "the generation of an untrusted document does not count")
	})
}

func TestAStoreThatDoesNotAnswerIsAskedAgain(t *testing.T) {
	t.Parallel()
	for _, stored := range []bool{false, true} {
		inFleet(t, func(f *fleet) {
			t := f.t
			f.register("d1", nil)
			f.register("d2", nil)
			f.faults.publish = func(device id) (error, bool) {
				if device == "d1" {
					return domain.Errorf(domain.ErrUnavailable, "no answer"), stored
				}
				return nil, true
			}
			f.apply(process("web", nil, "serve"))
			f.start()
			f.pass(time.Minute)
			assert.Equal(t, []name{"web"}, names(f.runs("d2")), "one that fails does not stop the others")
			assert.LessOrEqual(t, len(f.faults.took()), 20, "it is asked less and less often")
			if !stored {
				assert.Equal(t, operator.PhaseRecovering, f.operator.Status().Phase)
				assert.Equal(t, 1, f.operator.Status().Dirty)
			}
			f.faults.set(func(f *faults) { f.publish = nil })
			f.pass(time.Minute)
			assert.Equal(t, []name{"web"}, names(f.runs("d1")))
			assert.Equal(t, uint64(1), f.document("d1").Generation)
			assert.Equal(t, operator.PhaseConverged, f.operator.Status().Phase)
			assert.Empty(t, f.events(contracts.EventDesiredStateLost))
		})
	}
}

func TestADocumentThatIsNeverTakenBlocksNobodyElse(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.register("d2", nil)
		f.faults.publish = func(device id) (error, bool) {
			if device == "d1" {
				return domain.Errorf(domain.ErrInvalid, "too large"), false
			}
			return nil, true
		}
		f.apply(process("web", nil, "serve"))
		f.start()
		f.pass(time.Hour)
		assert.Len(t, f.faults.took(), 2, "it is not tried again until something changes")
		assert.Equal(t, []name{"web"}, names(f.runs("d2")))
		assert.Equal(t, []contracts.Problem{{Device: "d1", Phase: contracts.PhaseFailed, Reason: contracts.ReasonInvalidScore, Message: "too large"}}, f.status("web").Problems)
		f.faults.set(func(f *faults) { f.publish = nil })
		f.apply(process("web", nil, "serve2"))
		f.settle()
		assert.Equal(t, []name{"web"}, names(f.runs("d1")))
		assert.Empty(t, f.status("web").Problems)
	})
}

func TestAnUnknownStrategyMovesNothing(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		stored, err := f.backend.Deployments().Get(t.Context(), "web")
		require.NoError(t, err)
		next := process("web", nil, "serve2")
		next.Spec.Rollout.Strategy, next.Revision = contracts.StrategyRolling, stored.Revision
		_, err = f.backend.Deployments().Update(t.Context(), next)
		require.NoError(t, err)
		f.faults.took()
		f.settle()
		f.restart()
		assert.Empty(t, f.faults.took())
		assert.Equal(t, map[name]string{"web": "serve"}, f.runs("d1"))
		assert.Equal(t, "UnsupportedStrategy", f.status("web").Condition(contracts.ConditionStalled).Reason)
	})
}

func TestAnAgentVersionThatIsNotValidIsLeftOut(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.options = operator.Options{AgentVersion: "1.2.3", HeartbeatInterval: time.Minute}
		f.register("d1", nil)
		f.start()
		assert.Equal(t, "1.2.3", f.document("d1").AgentVersion)
		assert.Equal(t, time.Minute, f.document("d1").HeartbeatInterval.Std())
		f.options = operator.Options{AgentVersion: `1"`}
		f.restart()
		assert.Empty(t, f.document("d1").AgentVersion)
	})
}
