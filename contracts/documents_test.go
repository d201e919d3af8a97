package contracts_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

const (
	tooLongName = "too-long-too-long-too-long-too-long-too-long-too-long-too-long-x"
	notUTF8     = "\xff"
	beyond53    = MaxGeneration + 1
)

func TestDesiredStateRules(t *testing.T) {
	type d = *DesiredState
	checkRefusals(t, desiredState, []refusal[DesiredState]{
		{"device", func(s d) { s.Device = "PI" }, "device", "DNS-1123"},
		{"no generation", func(s d) { s.Generation = 0 }, "generation", "must be from 1 to 9007199254740991"},
		{"last generation", func(s d) { s.Generation = beyond53 }, "generation", "must be from 1 to 9007199254740991"},
		{"many deployments", func(s d) { s.Deployments = make([]DesiredDeployment, 257) }, "deployments", "has 257 entries, at most 256"},
		{"deployment's name", func(s d) { s.Deployments[1].Name = "" }, "deployments[1].name", "must not be empty"},
		{"deployment's generation", func(s d) { s.Deployments[1].Generation = 0 }, "deployments[1].generation", "must be from 1"},
		{"order", func(s d) { s.Deployments[0].Name = "zzz" }, "deployments[1].name", "names must be sorted and unique"},
		{"name twice", func(s d) { s.Deployments[0].Name = "web" }, "deployments[1].name", "names must be sorted and unique"},
		{"no score type", func(s d) { s.Deployments[0].Score.Type = "" }, "deployments[0].score.type", "must not be empty"},
		{"no score data", func(s d) { s.Deployments[0].Score.Data = nil }, "deployments[0].score.data", "must not be empty"},
		{"agent version", func(s d) { s.AgentVersion = "1 2" }, "agentVersion", "must be letters, digits, '.', '-' and '+'"},
		{"no interval", func(s d) { s.HeartbeatInterval = 0 }, "heartbeatInterval", "must be from 1s to 1h0m0s"},
		{"long interval", func(s d) { s.HeartbeatInterval = Duration(time.Hour + 1) }, "heartbeatInterval", "must be from 1s to 1h0m0s"},
	})
	// One deployment that this agent cannot read must not take the others along.
	checkAccepted(t, desiredState, []accepted[DesiredState]{
		{"unknown score", func(s d) { s.Deployments[0].Score.Type = "WasmV3" }},
		{"score that is not valid", func(s d) { s.Deployments[0].Score.Data = json.RawMessage(`["?"]`) }},
		{"last generation", func(s d) { s.Generation = MaxGeneration }},
		{"no wish for a version", func(s d) { s.AgentVersion = "" }},
	})
}

func TestDeviceReportRules(t *testing.T) {
	type r = *DeviceReport
	checkRefusals(t, deviceReport, []refusal[DeviceReport]{
		{"sequence", func(s r) { s.Sequence = 10_000_000_000 }, "sequence", "must be at most 9999999999"},
		{"applied generation", func(s r) { s.AppliedGeneration = beyond53 }, "appliedGeneration", "must be at most 9007199254740991"},
		{"many deployments", func(s r) { s.Deployments = make([]DeploymentReport, 257) }, "deployments", "at most 256"},
		{"name", func(s r) { s.Deployments[0].Name = "A" }, "deployments[0].name", "DNS-1123"},
		{"generation", func(s r) { s.Deployments[0].Generation = 0 }, "deployments[0].generation", "must be from 1"},
		{"order", func(s r) { s.Deployments[0].Name = "zzz" }, "deployments[1].name", "sorted and unique"},
		{"phase", func(s r) { s.Deployments[0].Phase = "running" }, "deployments[0].phase", `"running" is not a known phase`},
		{"reason", func(s r) { s.Deployments[1].Reason = "Tired" }, "deployments[1].reason", `"Tired" is not a known reason`},
		{"message", func(s r) { s.Deployments[1].Message = strings.Repeat("x", 1025) }, "deployments[1].message", "must be at most 1024 bytes, has 1025"},
		{"many services", func(s r) { s.Deployments[1].Services = make([]ServiceReport, 129) }, "deployments[1].services", "at most 128"},
		{"service's name", func(s r) { s.Deployments[1].Services[0].Name = "" }, "deployments[1].services[0].name", "must not be empty"},
		{"service's state", func(s r) { s.Deployments[1].Services[0].State = "" }, "deployments[1].services[0].state", `"" is not a known service state`},
		{"service's image", func(s r) { s.Deployments[1].Services[0].Image = strings.Repeat("x", 513) }, "deployments[1].services[0].image", "at most 512 bytes"},
		{"service's digest", func(s r) { s.Deployments[1].Services[0].ImageDigest = notUTF8 }, "deployments[1].services[0].imageDigest", "valid UTF-8"},
		{"refusal", func(s r) { s.Refused.Reason = "" }, "refused.reason", `"" is not a known refusal`},
		{"refusal's message", func(s r) { s.Refused.Message = notUTF8 }, "refused.message", "valid UTF-8"},
		{"upgrade", func(s r) { s.Upgrade.Phase = "Done" }, "upgrade.phase", `"Done" is not a known upgrade phase`},
		{"upgrade's version", func(s r) { s.Upgrade.Version = "1/2" }, "upgrade.version", "must be letters"},
		{"upgrade's message", func(s r) { s.Upgrade.Message = strings.Repeat("x", 1025) }, "upgrade.message", "at most 1024 bytes"},
	})
	var cases []accepted[DeviceReport]
	for _, phase := range Phases() {
		cases = append(cases, accepted[DeviceReport]{string(phase), func(s r) { s.Deployments[0].Phase = phase }})
	}
	for _, reason := range Reasons() {
		cases = append(cases, accepted[DeviceReport]{string(reason), func(s r) { s.Deployments[1].Reason = reason }})
	}
	for _, reason := range []RefusalReason{RefusedMalformed, RefusedUnknownKey, RefusedBadSignature, RefusedWrongDevice, RefusedOlderGeneration} {
		cases = append(cases, accepted[DeviceReport]{string(reason), func(s r) { s.Refused.Reason = reason }})
	}
	for _, state := range []ServiceState{ServiceWaiting, ServiceRunning, ServiceRestarting, ServiceExited, ServiceUnhealthy} {
		cases = append(cases, accepted[DeviceReport]{"service " + string(state), func(s r) { s.Deployments[0].Services[0].State = state }})
	}
	for _, phase := range []UpgradePhase{UpgradeStaging, UpgradeVerifying, UpgradeCutoverReady, UpgradeConfirmed, UpgradeRolledBack, UpgradeFailed} {
		cases = append(cases, accepted[DeviceReport]{"upgrade " + string(phase), func(s r) { s.Upgrade.Phase = phase }})
	}
	checkAccepted(t, deviceReport, cases)
}

func TestDeviceInfoRules(t *testing.T) {
	type i = *DeviceInfo
	long := strings.Repeat("x", 257)
	checkRefusals(t, deviceInfo, []refusal[DeviceInfo]{
		{"label", func(s i) { s.Labels["a b"] = "" }, "labels", "label key"},
		{"version", func(s i) { s.AgentVersion = strings.Repeat("1", 29) }, "agentVersion", "must be at most 28 bytes"},
		{"boot", func(s i) { s.BootID = tooLongName }, "bootID", "must be at most 63 bytes, has 64"},
		{"hostname", func(s i) { s.Inventory.Hostname = long }, "inventory.hostname", "at most 256 bytes"},
		{"os", func(s i) { s.Inventory.OS = long }, "inventory.os", "at most 256 bytes"},
		{"kernel", func(s i) { s.Inventory.Kernel = long }, "inventory.kernel", "at most 256 bytes"},
		{"architecture", func(s i) { s.Inventory.Architecture = long }, "inventory.architecture", "at most 256 bytes"},
		{"machine", func(s i) { s.Inventory.MachineID = long }, "inventory.machineID", "at most 256 bytes"},
		{"serial", func(s i) { s.Inventory.Serial = notUTF8 }, "inventory.serial", "valid UTF-8"},
		{"model", func(s i) { s.Inventory.Model = long }, "inventory.model", "at most 256 bytes"},
		{"cpus", func(s i) { s.Inventory.CPUs = -1 }, "inventory.cpus", "must not be negative"},
		{"memory", func(s i) { s.Inventory.MemoryBytes = -1 }, "inventory.memoryBytes", "must not be negative"},
		{"disk", func(s i) { s.Inventory.DiskBytes = -1 }, "inventory.diskBytes", "must not be negative"},
		{"many runtimes", func(s i) { s.Inventory.Runtimes = manyStrings(9) }, "inventory.runtimes", "has 9 entries, at most 8"},
		{"runtime", func(s i) { s.Inventory.Runtimes[1] = long }, "inventory.runtimes[1]", "at most 256 bytes"},
	})
}

func TestHeartbeatRules(t *testing.T) {
	// The largest of everything still is below the bound.
	largest := func() Heartbeat {
		return Heartbeat{
			Sequence: 9_999_999_999, AppliedGeneration: MaxGeneration, ReportSequence: 9_999_999_999,
			AgentVersion: strings.Repeat("+", 28),
		}
	}
	data, err := Encode(largest())
	require.NoError(t, err)
	assert.Less(t, len(data), MaxHeartbeatBytes, "%s", data)
	assert.Equal(t, 96, MaxHeartbeatBytes)

	type h = *Heartbeat
	checkRefusals(t, largest, []refusal[Heartbeat]{
		{"sequence", func(s h) { s.Sequence++ }, "seq", "must be at most 9999999999"},
		{"generation", func(s h) { s.AppliedGeneration++ }, "gen", "must be at most 9007199254740991"},
		{"report", func(s h) { s.ReportSequence++ }, "rep", "must be at most 9999999999"},
		{"version", func(s h) { s.AgentVersion += "1" }, "ver", "must be at most 28 bytes"},
		{"version that JSON escapes", func(s h) { s.AgentVersion = `1"2` }, "ver", "must be letters"},
	})
	checkRefusals(t, func() SyncRequest { return SyncRequest{Generation: MaxGeneration} }, []refusal[SyncRequest]{
		{"generation", func(s *SyncRequest) { s.Generation++ }, "generation", "must be at most 9007199254740991"},
	})
}

func TestEventRules(t *testing.T) {
	valid := func() Event {
		return Event{Time: at(1), Kind: EventDeviceOnline, Device: "pi", Deployment: "web"}
	}
	type e = *Event
	checkRefusals(t, valid, []refusal[Event]{
		{"kind", func(s e) { s.Kind = "Sneezed" }, "kind", `"Sneezed" is not a known event kind`},
		{"about nothing", func(s e) { s.Device, s.Deployment = "", "" }, "device", "device or deployment must be set"},
		{"device", func(s e) { s.Device = "PI" }, "device", "DNS-1123"},
		{"deployment", func(s e) { s.Deployment = "a.b" }, "deployment", "DNS-1123"},
		{"reason", func(s e) { s.Reason = tooLongName }, "reason", "at most 63 bytes"},
		{"actor", func(s e) { s.Actor = strings.Repeat("x", 257) }, "actor", "at most 256 bytes"},
		{"message", func(s e) { s.Message = strings.Repeat("x", 1025) }, "message", "at most 1024 bytes"},
	})
	var cases []accepted[Event]
	for _, kind := range EventKinds() {
		cases = append(cases, accepted[Event]{string(kind), func(s e) { s.Kind = kind }})
	}
	for _, kind := range []EventKind{EventAccessDenied, EventEnrollmentRefused} {
		cases = append(cases, accepted[Event]{"about a stranger: " + string(kind), func(s e) { s.Kind, s.Device, s.Deployment = kind, "", "" }})
	}
	checkAccepted(t, valid, cases)
}

func TestDeploymentRules(t *testing.T) {
	type d = *DeploymentRecord
	checkRefusals(t, deploymentRecord, []refusal[DeploymentRecord]{
		{"name", func(s d) { s.Name = "" }, "name", "must not be empty"},
		{"generation", func(s d) { s.Generation = 0 }, "generation", "must be from 1"},
		{"labels", func(s d) { s.Labels = Labels{"site": "a b"} }, "labels.site", "label value"},
		{"origin", func(s d) { s.Origin = "helm" }, "origin", `"helm" is unknown: use cli or kubernetes`},
		{"cause", func(s d) { s.ChangeCause = strings.Repeat("x", 1025) }, "changeCause", "at most 1024 bytes"},
		{"no selector", func(s d) { s.Spec.TargetSelector = nil }, "spec.targetSelector", "is required"},
		{"selector", func(s d) { s.Spec.TargetSelector.MatchExpressions[0].Operator = "" }, "spec.targetSelector.matchExpressions[0].operator", "is unknown"},
		{"score", func(s d) { s.Spec.Score.Type = "" }, "spec.score.type", "must not be empty"},
		{"rollout", func(s d) { s.Spec.Rollout.Strategy = "x" }, "spec.rollout.strategy", "is unknown"},
	})
	checkAccepted(t, deploymentRecord, []accepted[DeploymentRecord]{
		{"score of a newer version", func(s d) { s.Spec.Score = ReconcileScore{Type: "WasmV3", Data: json.RawMessage("[1]")} }},
		{"no origin", func(s d) { s.Origin = "" }},
	})

	type s = *DeploymentStatus
	checkRefusals(t, deploymentStatus, []refusal[DeploymentStatus]{
		{"generation", func(x s) { x.ObservedGeneration = beyond53 }, "observedGeneration", "must be at most"},
		{"matched", func(x s) { x.Matched = -1 }, "matched", "must not be negative"},
		{"updated", func(x s) { x.Updated = -1 }, "updated", "must not be negative"},
		{"pending", func(x s) { x.Pending = -1 }, "pending", "must not be negative"},
		{"running", func(x s) { x.Running = -1 }, "running", "must not be negative"},
		{"degraded", func(x s) { x.Degraded = -1 }, "degraded", "must not be negative"},
		{"failed", func(x s) { x.Failed = -1 }, "failed", "must not be negative"},
		{"offline", func(x s) { x.Offline = -1 }, "offline", "must not be negative"},
		{"many conditions", func(x s) { x.Conditions = make([]Condition, 17) }, "conditions", "at most 16"},
		{"condition's type", func(x s) { x.Conditions[0].Type = "" }, "conditions[0].type", "must not be empty"},
		{"condition's status", func(x s) { x.Conditions[0].Status = "true" }, "conditions[0].status", `"true" is unknown: use True, False or Unknown`},
		{"many problems", func(x s) { x.Problems = make([]Problem, MaxProblems+1) }, "problems", "has 11 entries, at most 10"},
		{"problem's device", func(x s) { x.Problems[0].Device = "" }, "problems[0].device", "must not be empty"},
		{"problem's phase", func(x s) { x.Problems[0].Phase = "" }, "problems[0].phase", "is not a known phase"},
		{"problem's reason", func(x s) { x.Problems[0].Reason = "x" }, "problems[0].reason", "is not a known reason"},
	})
	status := deploymentStatus()
	assert.Equal(t, status.Conditions[0], status.Condition(ConditionAvailable))
	assert.Equal(t, Condition{Type: ConditionStalled, Status: ConditionUnknown}, status.Condition(ConditionStalled))

	type m = *Manifest
	checkRefusals(t, manifest, []refusal[Manifest]{
		{"version", func(x m) { x.APIVersion = "v1" }, "apiVersion", `must be "fleet.nationtech.io/v1alpha1", is "v1"`},
		{"kind", func(x m) { x.Kind = "deployment" }, "kind", `must be "Deployment", is "deployment"`},
		{"name", func(x m) { x.Metadata.Name = "Web" }, "metadata.name", "DNS-1123"},
		{"labels", func(x m) { x.Metadata.Labels["-"] = "" }, "metadata.labels", "label key"},
		{"no selector", func(x m) { x.Spec.TargetSelector = nil }, "spec.targetSelector", "is required; write {} to choose every device"},
		{"selector", func(x m) { x.Spec.TargetSelector.MatchLabels["site"] = "-" }, "spec.targetSelector.matchLabels.site", "label value"},
		{"unknown score", func(x m) { x.Spec.Score.Type = "Helm" }, "spec.score.type", `"Helm" is not a known score type`},
		{"score", func(x m) { x.Spec.Score.Data = json.RawMessage(`{"services":[]}`) }, "spec.score.data.services", "must hold at least one service"},
		{"rollout", func(x m) { x.Spec.Rollout.MinReady = -1 }, "spec.rollout.minReady", "is out of range"},
	})
	checkAccepted(t, manifest, []accepted[Manifest]{
		{"every device", func(x m) { x.Spec.TargetSelector = &LabelSelector{} }},
		{"processes", func(x m) {
			x.Spec.Score = ReconcileScore{Type: ScoreProcessV0, Data: json.RawMessage(`{"services":[{"name":"a","command":"b"}]}`)}
		}},
	})
}
