package contracts_test

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"time"

	. "github.com/nationtech/harmony-fleet/contracts"
)

const (
	testDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	testPEM    = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"

	podmanData = `{"services":[{"name":"web","image":"registry.example/web:1.2","env":{"A":"1 < 2 && 3 > 2"},"ports":["8080:80"]}],"lifecycle":{"stopSignal":"SIGINT"}}`
	// The newer field and the unknown order of keys have to survive.
	processData = `{"services":[{"newer":true,"name":"sleeper","command":["/bin/sleep","60"]}]}`
)

// testKey is the fleet key of the golden files. Ed25519 signatures are
// deterministic, so the signed golden file is too.
func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("golden files of harmony-fleet v1"))
}

func testPublicKey() ed25519.PublicKey {
	public, _ := testKey().Public().(ed25519.PublicKey)
	return public
}

func at(second int) time.Time { return time.Date(2026, time.January, 31, 12, 30, second, 0, time.UTC) }

func podmanScore() ReconcileScore {
	return ReconcileScore{Type: ScorePodmanV0, Data: json.RawMessage(podmanData)}
}

func processScore() ReconcileScore {
	return ReconcileScore{Type: ScoreProcessV0, Data: json.RawMessage(processData)}
}

func desiredState() DesiredState {
	return DesiredState{
		Device:     "pi-042",
		Generation: 17,
		Deployments: []DesiredDeployment{
			{Name: "sleeper", Generation: 2, Score: processScore()},
			{Name: "web", Generation: 9, Score: podmanScore()},
		},
		AgentVersion:      "1.4.0-rc.1+linux",
		HeartbeatInterval: Duration(90 * time.Second),
	}
}

// signed is the envelope of desiredState.
func signed() Signed {
	document, err := Encode(desiredState())
	if err != nil {
		panic(err)
	}
	envelope, err := Decode[Signed](Sign(document, testKey()))
	if err != nil {
		panic(err)
	}
	return envelope
}

func inventory() Inventory {
	return Inventory{
		Hostname: "pi-042", OS: "Debian GNU/Linux 13", Kernel: "6.12.34", Architecture: "arm64",
		CPUs: 4, MemoryBytes: 8 << 30, DiskBytes: 64 << 30,
		MachineID: "3c9e0b4c8a1f4f0e9d55a2b1c3d4e5f6", Serial: "10000000abcdef01", Model: "Raspberry Pi 5 Model B",
		Runtimes: []string{"podman 5.4.2", "process"},
	}
}

func deviceInfo() DeviceInfo {
	return DeviceInfo{
		Labels: Labels{"kernel": "6.12", "model": "pi5"}, AgentVersion: "1.4.0", Inventory: inventory(),
		BootID: "5b2f0a5e-8a4e-4df8-9c7e-0d3f1a2b4c5d", StartedAt: at(1),
	}
}

func deviceReport() DeviceReport {
	return DeviceReport{
		Sequence: 41, AppliedGeneration: 17, AppliedDigest: "0123456789abcdef",
		Deployments: []DeploymentReport{
			{Name: "sleeper", Generation: 2, Phase: PhaseRunning, Since: at(2), Services: []ServiceReport{
				{Name: "sleeper", State: ServiceRunning, PID: 4711},
			}},
			{
				Name: "web", Generation: 9, Phase: PhaseDegraded, Reason: ReasonCrashLoop,
				Message: "service web ends <again> & again", Since: at(3),
				Services: []ServiceReport{{
					Name: "web", Image: "registry.example/web:1.2", ImageDigest: testDigest,
					State: ServiceRestarting, Restarts: 7, ExitCode: new(137),
				}},
			},
		},
		Refused: &Refusal{Reason: RefusedOlderGeneration, Generation: 16, Message: "generation 16 is older than 17"},
		Upgrade: &UpgradeReport{Phase: UpgradeVerifying, Version: "1.5.0", Message: "self-test runs"},
	}
}

func selector() *LabelSelector {
	return &LabelSelector{
		MatchLabels: map[string]string{"site": "paris"},
		MatchExpressions: []SelectorRequirement{
			{Key: "fleet.nationtech.io/device", Operator: SelectorNotIn, Values: []string{"pi-001", "pi-002"}},
			{Key: "ring", Operator: SelectorExists},
		},
	}
}

func amount(text string) Amount {
	a, err := ParseAmount(text)
	if err != nil {
		panic(err)
	}
	return a
}

func rollout() Rollout {
	return Rollout{
		Strategy: StrategyRolling, MaxUnavailable: amount("10%"), MinReady: Duration(30 * time.Second),
		ProgressDeadline: Duration(10 * time.Minute), MaxFailures: amount("3"), OnFailure: FailureRollback,
	}
}

func deploymentRecord() DeploymentRecord {
	return DeploymentRecord{
		Name: "web", Generation: 9, Labels: Labels{"team": "edge"}, Origin: OriginKubernetes,
		Spec:      DeploymentSpec{TargetSelector: selector(), Score: podmanScore(), Rollout: rollout()},
		CreatedAt: at(4), UpdatedAt: at(5), ChangeCause: "cli:ana: image 1.2",
	}
}

func deploymentStatus() DeploymentStatus {
	return DeploymentStatus{
		ObservedGeneration: 9, Removing: true,
		Matched: 10, Updated: 8, Pending: 4, Running: 3, Degraded: 2, Failed: 1, Offline: 5,
		Conditions: []Condition{{
			Type: ConditionAvailable, Status: ConditionFalse, Reason: "DevicesFailed",
			Message: "1 of 10 devices failed", LastTransitionTime: at(6),
		}},
		Problems:  []Problem{{Device: "pi-042", Phase: PhaseFailed, Reason: ReasonPortConflict, Message: "port 8080/tcp is taken"}},
		UpdatedAt: at(7),
	}
}

func manifest() Manifest {
	return Manifest{
		APIVersion: APIVersion, Kind: KindDeployment,
		Metadata: ManifestMetadata{
			Name: "web", Namespace: "fleet", Labels: Labels{"team": "edge"},
			Annotations: map[string]string{"note": "kept as it is"},
		},
		Spec: DeploymentSpec{TargetSelector: selector(), Score: podmanScore(), Rollout: rollout()},
	}
}

// testEnrollmentToken is enrollmentToken() as text, signed by the key of
// testPublicKey.
const testEnrollmentToken = "fleet-enroll-v1" +
	".eyJkZXZpY2UiOiJwaS0wNDIiLCJleHBpcmVzQXQiOiIyMDI2LTAxLTMxVDEyOjMwOjEyWiIsIm5vbmNlIjoiMDAwMTAyMDMwNDA1MDYwNzA4MDkwYTBiMGMwZDBlMGYiLCJzaWduaW5nS2V5IjoiZWQyNTUxOTpGNmVNRmZ0dnNPeXZVUGZMT2FZa2hxZFprRG41bFNUbkViNDhvSmtjNkhFPSJ9" +
	".MdyEKVboO0OLvhvPHbDg9c1OCvhxKt29DXE61nqa0BHMoRjTYbeMG0X24_qbWyplnxsJ0Oi05LCe13JFlmfdBA"

func enrollmentToken() EnrollmentToken {
	return EnrollmentToken{
		Device: "pi-042", ExpiresAt: at(12), Nonce: "000102030405060708090a0b0c0d0e0f",
		SigningKey: FormatPublicKey(testPublicKey()),
	}
}

func expiringCredential() DeviceCredential {
	c := *credential()
	c.KeyExpiresAt = at(15)
	return c
}

func credential() *DeviceCredential {
	return &DeviceCredential{
		Issuer: "https://id.example", ProjectID: "318", UserID: "fleet-pi-042", KeyID: "319",
		Servers: []string{"tls://nats.example:4222"}, ServerCA: "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n",
		SigningKeys: []string{FormatPublicKey(testPublicKey())},
	}
}

func podman() PodmanV0 {
	container := PodmanContainer{
		Name: "web", Image: "registry.example/web@" + testDigest, PullPolicy: PullAlways,
		Command: Command{"/web"}, Args: []string{"--device", "{{ .device.id }}"},
		Env: map[string]string{"SITE": "{{ .device.labels.site }}"}, Volumes: []string{"data:/data", "/etc/web:/etc/web:ro"},
		Tmpfs: []string{"/run"}, User: "1000:1000", CapAdd: []string{"NET_BIND_SERVICE"}, ReadOnly: true,
		Resources: Resources{CPU: "500m", Memory: "256Mi", Pids: 64},
	}
	return PodmanV0{
		Services: []PodmanService{{
			PodmanContainer: container,
			Ports:           []string{"8080:80", "127.0.0.1:53:53/udp"}, Restart: RestartOnFailure,
			Healthcheck: &Healthcheck{
				Command: Command{"/web", "check"}, Interval: Duration(10 * time.Second), Timeout: Duration(2 * time.Second),
				StartPeriod: Duration(time.Minute), Retries: 5,
			},
		}},
		InitContainers: []InitContainer{{
			PodmanContainer: PodmanContainer{Name: "migrate", Image: "registry.example/web:1.2"}, TimeoutSeconds: 60,
		}},
		Lifecycle: Lifecycle{StopSignal: "SIGQUIT", GracePeriodSeconds: new(uint32(0))},
	}
}

func process() ProcessV0 {
	return ProcessV0{
		Services: []ProcessService{{
			Name: "sleeper", Command: Command{"/bin/sleep"}, Args: []string{"60"},
			Env: map[string]string{"LANG": "C"}, Dir: "/srv/sleeper", Restart: RestartNever,
		}},
		Lifecycle: Lifecycle{GracePeriodSeconds: new(uint32(5))},
	}
}

// goldens are all wire documents, by the name of their golden file.
func goldens() []golden {
	return []golden{
		document("signed", signed()),
		document("desired-state", desiredState()),
		document("desired-state-empty", DesiredState{
			Device: "pi-042", Generation: 1, Deployments: []DesiredDeployment{}, HeartbeatInterval: DefaultHeartbeatInterval,
		}),
		document("score-podman-v0", podman()),
		document("score-process-v0", process()),
		document("device-info", deviceInfo()),
		document("device-report", deviceReport()),
		document("device-report-empty", DeviceReport{Sequence: 1, Deployments: []DeploymentReport{}}),
		document("heartbeat", Heartbeat{Sequence: 1234, AppliedGeneration: 17, ReportSequence: 41, AgentVersion: "1.4.0"}),
		document("sync-request", SyncRequest{Generation: 17}),
		document("event-device", Event{
			Time: at(8), Kind: EventDesiredStateRefused, Device: "pi-042", Deployment: "web",
			Reason: string(RefusedBadSignature), Message: "signature does not fit the document", Actor: "device",
		}),
		document("event-deployment", Event{Time: at(9), Kind: EventDeploymentApplied, Deployment: "web", Actor: "cli:ana"}),
		document("deployment-record", deploymentRecord()),
		document("deployment-status", deploymentStatus()),
		document("device-record", DeviceRecord{
			ID: "pi-042", Labels: Labels{"site": "paris"}, PublicKey: testPEM, Revoked: true, RegisteredAt: at(10),
		}),
		document("enrollment-intent", EnrollmentIntent{
			Device: "pi-042", Labels: Labels{"site": "paris"}, State: EnrollmentReview, TokenHash: strings.Repeat("0f", 32),
			CreatedAt: at(11), ExpiresAt: at(12), PublicKey: testPEM, Reason: "serial number is not on the list",
		}),
		document("enrollment-intent-busy", EnrollmentIntent{
			Device: "pi-042", State: EnrollmentApproved, TokenHash: strings.Repeat("0f", 32),
			CreatedAt: at(11), ExpiresAt: at(13), PublicKey: testPEM, BusyUntil: at(12),
		}),
		document("enrollment-intent-done", EnrollmentIntent{
			Device: "pi-042", State: EnrollmentDone, TokenHash: strings.Repeat("0f", 32),
			CreatedAt: at(11), ExpiresAt: at(12), PublicKey: testPEM, UserID: "fleet-pi-042", KeyID: "319", KeyExpiresAt: at(15),
		}),
		document("enrollment-token", enrollmentToken()),
		document("enroll-token-request", EnrollTokenRequest{Device: "pi-042", ExpiresAt: at(12)}),
		document("enroll-token-result", EnrollTokenResult{Token: testEnrollmentToken}),
		document("enroll-request", EnrollRequest{Device: "pi-042", Token: "one-time", PublicKey: testPEM, Inventory: inventory()}),
		document("enroll-reply", EnrollReply{State: EnrollmentDone, Credential: credential()}),
		document("enroll-reply-denied", EnrollReply{State: EnrollmentDenied, Reason: "denied by cli:ana"}),
		document("device-credential", *credential()),
		document("device-credential-expiring", expiringCredential()),
		document("lease-record", LeaseRecord{Holder: "operator-1", AcquiredAt: at(13), Renewals: 5, TTL: Duration(15 * time.Second)}),
		document("manifest", manifest()),
		document("command-reply-ok", CommandReply{Result: json.RawMessage(`{"session":"s1","chunk":"PGEgJiBiPgo="}`)}),
		document("command-reply-error", CommandReply{Error: &CommandError{Kind: "NotFound", Message: "deployment \"web\" is not on this device"}}),
		// ping, describe, reconcile and report are asked with {}; reconcile and
		// report are answered with {}.
		document("command-empty", Empty{}),
		document("command-ping-result", PingResult{AgentVersion: "1.4.0", Time: at(14), Uptime: Duration(36 * time.Hour)}),
		document("command-rotate-request", RotateRequest{Token: testEnrollmentToken}),
		document("command-logs-request", LogsRequest{
			Session: "s1", Deployment: "web", Service: "web", Tail: -1, Follow: true, Wait: Duration(10 * time.Second),
		}),
		document("command-logs-result", LogsResult{Session: "s1", Chunk: []byte("<a & b>\n"), End: true}),
		document("command-exec-request", ExecRequest{
			Deployment: "web", Service: "web", Command: []string{"sh", "-c", "true && echo <ok>"}, Timeout: Duration(30 * time.Second),
		}),
		document("command-exec-result", ExecResult{ExitCode: 2, Output: []byte("<ok>\n"), Truncated: true}),
		document("command-exec-result-killed", ExecResult{ExitCode: 137, Output: []byte("so far\n"), TimedOut: true}),
		document("command-describe-result", DescribeResult{
			Info: deviceInfo(), Report: deviceReport(), DesiredGeneration: 17, Time: at(15), Uptime: Duration(time.Hour),
		}),
	}
}
