package deploy

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/agent"
	"github.com/nationtech/harmony-fleet/deploy/agent/pod"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// volume is one that the claim of a pod can be bound to.
const volume = `{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "NAME"},
"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "NAME", "hostPath": {"path": "/var/NAME"}}}`

// container is a companion that runs the agent as the pod would: those of the
// cluster get ready, but nothing runs in them. It takes command and files from
// the objects in the cluster.
func (f *fixture) container(t *testing.T, device string) deploy.Companion {
	t.Helper()
	started := false
	return deploy.Companion{Name: "container", Observe: func(event deploy.Event) {
		if event.Message != "wait: a heartbeat that the fleet hears" || started {
			return
		}
		started = true
		name := "fleet-agent-" + device
		var secret struct{ Data map[string]string }
		require.NoError(t, json.Unmarshal([]byte(f.kubectl(t, "get", "secret", name, "-o", "json")), &secret))
		dir := t.TempDir()
		for file, encoded := range secret.Data {
			content, err := base64.StdEncoding.DecodeString(encoded)
			require.NoError(t, err)
			// The mounts of the pod's container, somewhere else.
			text := strings.NewReplacer("/etc/fleet-agent", dir, "/var/lib/fleet-agent", filepath.Join(dir, "state")).Replace(string(content))
			require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
		}
		var running struct {
			Spec struct{ Containers []struct{ Command []string } }
		}
		require.NoError(t, json.Unmarshal([]byte(f.kubectl(t, "get", "pod", name+"-0", "-o", "json")), &running))
		command := running.Spec.Containers[0].Command
		require.Equal(t, "fleet-agent", command[0])
		for i := range command {
			command[i] = strings.Replace(command[i], "/etc/fleet-agent", dir, 1)
		}
		program, err := fleettest.Start("agent", filepath.Join(bin, command[0]), command[1:], nil, nil)
		require.NoError(t, err)
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(program.Output())
			}
			require.NoError(t, program.Stop(syscall.SIGTERM, timeout))
		})
	}}
}

// signingKey reads the fleet's key from what was prepared for a device.
func signingKey(t *testing.T, directory string) string {
	t.Helper()
	config, err := os.ReadFile(filepath.Join(directory, "config.toml"))
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(config), `signing_keys = ["`)
	require.True(t, ok)
	key, _, _ := strings.Cut(rest, `"`)
	return key
}

func TestAgentInAPod(t *testing.T) {
	f := newFixture(t)
	// A class of its own: volumes are for whoever asks first.
	_, err := cluster.Get(t).Kubectl(t.Context(), []byte(strings.ReplaceAll(volume, "NAME", f.namespace)), "apply", "-f", "-")
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := cluster.Get(t).Kubectl(context.WithoutCancel(t.Context()), nil, "delete", "pv", f.namespace, "--wait=false")
		require.NoError(t, err)
	})
	device := f.broker.Devices[0]
	directory := filepath.Join(f.broker.Dir, "devices", device)
	nkey, err := os.ReadFile(filepath.Join(directory, "device.nk"))
	require.NoError(t, err)
	conn, err := nats.Connect(t.Context(), nats.Config{Servers: []string{f.broker.Server}, Credential: nats.SeedFile(f.broker.NKey), Name: "test"})
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	score := &pod.FleetAgentPodScore{
		Device: contracts.DeviceID(device), Namespace: f.namespace, Image: "registry.example/fleet-agent:1", StorageClass: f.namespace,
		Config: agent.Config{SigningKeys: []string{signingKey(t, directory)}, Servers: []string{f.broker.Server}, NKey: nkey},
		Fleet:  nats.NewObservedStateConsumer(conn),
	}
	job := deploy.For(score).On(f.topology)
	options := deploy.Options{Companions: []deploy.Companion{f.container(t, device)}}

	outcome, err := job.Apply(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, 2, outcome.Changed(), "%+v", outcome)
	name := "fleet-agent-" + device
	require.Equal(t, "Bound", f.kubectl(t, "get", "pvc", "state-"+name+"-0", "-o", "jsonpath={.status.phase}"))
	require.NotContains(t, f.kubectl(t, "get", "statefulset", name, "-o", "yaml"), strings.TrimSpace(string(nkey)))

	outcome, err = job.Apply(t.Context(), options)
	require.NoError(t, err)
	require.Zero(t, outcome.Changed(), "%+v", outcome)

	before := f.kubectl(t, "get", "pod", name+"-0", "-o", "jsonpath={.metadata.uid}")
	score.Config.LogLevel = "debug"
	outcome, err = job.Apply(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, 2, outcome.Changed(), "the Secret, and the pod, which reads it when it starts: %+v", outcome)
	require.NotEqual(t, before, f.kubectl(t, "get", "pod", name+"-0", "-o", "jsonpath={.metadata.uid}"))

	outcome, err = job.Destroy(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, 2, outcome.Changed())
	require.Empty(t, f.kubectl(t, "get", "secret,statefulset", "-o", "name"))
	outcome, err = job.Destroy(t.Context(), options)
	require.NoError(t, err)
	require.Zero(t, outcome.Changed())
}
