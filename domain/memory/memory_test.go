package memory_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"testing"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/conformance"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

func restart(fleet *memory.Fleet) func(*testing.T) {
	return func(*testing.T) { fleet.Restart() }
}

func setConnected(device *memory.Device) func(*testing.T, bool) {
	return func(_ *testing.T, connected bool) { device.SetConnected(connected) }
}

func TestDeviceRegistry(t *testing.T) {
	t.Parallel()
	conformance.DeviceRegistry(t, func(*testing.T) conformance.DeviceRegistryFixture {
		fleet := memory.New()
		return conformance.DeviceRegistryFixture{Registry: fleet.Devices(), Second: fleet.Devices(), Restart: restart(fleet)}
	})
}

func TestEnrollmentStore(t *testing.T) {
	t.Parallel()
	conformance.EnrollmentStore(t, func(*testing.T) conformance.EnrollmentStoreFixture {
		fleet := memory.New()
		return conformance.EnrollmentStoreFixture{Store: fleet.Enrollments(), Second: fleet.Enrollments(), Restart: restart(fleet)}
	})
}

func TestDeploymentStore(t *testing.T) {
	t.Parallel()
	conformance.DeploymentStore(t, func(*testing.T) conformance.DeploymentStoreFixture {
		fleet := memory.New()
		return conformance.DeploymentStoreFixture{Store: fleet.Deployments(), Second: fleet.Deployments(), Restart: restart(fleet)}
	})
}

func TestDeploymentStatusStore(t *testing.T) {
	t.Parallel()
	conformance.DeploymentStatusStore(t, func(*testing.T) conformance.DeploymentStatusStoreFixture {
		fleet := memory.New()
		return conformance.DeploymentStatusStoreFixture{Store: fleet.Statuses(), Second: fleet.Statuses(), Restart: restart(fleet)}
	})
}

func TestDesiredState(t *testing.T) {
	t.Parallel()
	conformance.DesiredState(t, func(*testing.T) conformance.DesiredStateFixture {
		fleet := memory.New()
		return conformance.DesiredStateFixture{
			Publisher: fleet.Desired(),
			Second:    fleet.Desired(),
			Device: func(_ *testing.T, id contracts.DeviceID) conformance.DesiredStateDevice {
				device := fleet.Device(id)
				return conformance.DesiredStateDevice{Source: device, SetConnected: setConnected(device)}
			},
			Restart: restart(fleet),
		}
	})
}

func TestObservedState(t *testing.T) {
	t.Parallel()
	conformance.ObservedState(t, func(*testing.T) conformance.ObservedStateFixture {
		fleet := memory.New()
		return conformance.ObservedStateFixture{
			Consumer: fleet.Observed(),
			Second:   fleet.Observed(),
			Device: func(_ *testing.T, id contracts.DeviceID) conformance.ObservedStateDevice {
				device := fleet.Device(id)
				return conformance.ObservedStateDevice{Reporter: device, SetConnected: setConnected(device)}
			},
			Restart: restart(fleet),
		}
	})
}

func TestCommandBus(t *testing.T) {
	t.Parallel()
	conformance.CommandBus(t, func(*testing.T) conformance.CommandBusFixture {
		fleet := memory.New()
		return conformance.CommandBusFixture{
			Bus:    fleet.Commands(),
			Second: fleet.Commands(),
			Device: func(_ *testing.T, id contracts.DeviceID) conformance.CommandDevice {
				device := fleet.Device(id)
				return conformance.CommandDevice{Server: device, SetConnected: setConnected(device)}
			},
			Restart: restart(fleet),
		}
	})
}

func TestEventLog(t *testing.T) {
	t.Parallel()
	conformance.EventLog(t, func(*testing.T) conformance.EventLogFixture {
		fleet := memory.New()
		return conformance.EventLogFixture{Log: fleet.Events(), Second: fleet.Events(), Restart: restart(fleet)}
	})
}

func TestLeaderElector(t *testing.T) {
	t.Parallel()
	conformance.LeaderElector(t, func(*testing.T) conformance.LeaderElectorFixture {
		fleet := memory.New()
		return conformance.LeaderElectorFixture{
			Contender: func(_ *testing.T, identity string) conformance.Contender {
				elector := fleet.Elector(identity)
				return conformance.Contender{Elector: elector, Kill: func(*testing.T) { elector.SetConnected(false) }}
			},
			Failover: time.Second,
			Restart:  restart(fleet),
		}
	})
}

func TestIdentityProvider(t *testing.T) {
	t.Parallel()
	conformance.IdentityProvider(t, func(*testing.T) conformance.IdentityProviderFixture {
		identity := memory.NewIdentity()
		return conformance.IdentityProviderFixture{
			Provider: identity,
			SignIn: func(t *testing.T, credential domain.DeviceCredential, key *ecdsa.PrivateKey) error {
				t.Helper()
				_, err := identity.DeviceToken(t.Context(), credential.Device, &key.PublicKey)
				return err
			},
			SetReachable: func(_ *testing.T, reachable bool) { identity.SetReachable(reachable) },
		}
	})
}

func TestTokenVerifier(t *testing.T) {
	t.Parallel()
	conformance.TokenVerifier(t, func(*testing.T) conformance.TokenVerifierFixture {
		identity := memory.NewIdentity()
		return conformance.TokenVerifierFixture{
			Verifier: identity,
			Issue: func(_ *testing.T, principal domain.Principal, lifetime time.Duration) string {
				return identity.Issue(principal, lifetime).Value
			},
			Foreign: func(*testing.T) map[string]string {
				token := memory.NewIdentity().Issue(domain.Principal{Subject: "ada"}, time.Hour)
				return map[string]string{"another provider": token.Value}
			},
			Subject:      func(device contracts.DeviceID) string { return "fleet-" + string(device) },
			SetReachable: func(_ *testing.T, reachable bool) { identity.SetReachable(reachable) },
		}
	})
}

func TestAgentLifecycle(t *testing.T) {
	t.Parallel()
	conformance.AgentLifecycle(t, func(*testing.T) conformance.AgentLifecycleFixture {
		lifecycle := memory.NewLifecycle("9.0.0")
		return conformance.AgentLifecycleFixture{
			Lifecycle: lifecycle,
			Initial:   "9.0.0",
			Release: func(_ *testing.T, version string, broken bool) domain.AgentRelease {
				url := "https://releases.example/" + version
				lifecycle.Offer(url, []byte(version))
				if broken {
					lifecycle.Break(version)
				}
				sum := sha256.Sum256([]byte(version))
				return domain.AgentRelease{Version: version, URL: url, SHA256: hex.EncodeToString(sum[:])}
			},
			Running:  func(*testing.T) string { return lifecycle.Running() },
			Versions: func(*testing.T) []string { return lifecycle.Versions() },
			Expire:   func(*testing.T) { lifecycle.Expire() },
		}
	})
}

func TestCommandRunner(t *testing.T) {
	t.Parallel()
	words := conformance.CommandWords{
		Print: func(text string, code int) []string { return []string{"print", text, "exit", strconv.Itoa(code)} },
		Flood: func(bytes int) []string { return []string{"flood", strconv.Itoa(bytes)} },
		Hang: func(*testing.T) ([]string, func(*testing.T) bool) {
			return []string{"print", "ready", "hang", "_"}, nil
		},
	}
	t.Run("host", func(t *testing.T) {
		t.Parallel()
		conformance.CommandRunner(t, func(*testing.T) conformance.CommandRunnerFixture {
			return conformance.CommandRunnerFixture{Runner: memory.HostCommands{}, Commands: words}
		})
	})
	t.Run("runtime", func(t *testing.T) {
		t.Parallel()
		conformance.CommandRunner(t, func(t *testing.T) conformance.CommandRunnerFixture {
			t.Helper()
			runtime := memory.NewRuntime()
			return conformance.CommandRunnerFixture{
				Runner: runtime, Runtime: runtime, Commands: words, Scores: scores(t, runtime, contracts.ScoreProcessV0),
			}
		})
	})
}
