package commands_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestApply(t *testing.T) {
	x := newTerminal(t)
	hello, err := os.ReadFile(filepath.Join(example, "hello.yaml"))
	require.NoError(t, err)
	x.stdin = string(hello)
	assert.Equal(t, "deployment/hello created (dry run)\n", x.ok("apply", "-f", "-", "--dry-run"))
	_, err = x.fleet.Deployments().Get(t.Context(), "hello")
	require.ErrorIs(t, err, domain.ErrNotFound)
	assert.Equal(t, "deployment/hello created\n", x.ok("apply", "-f", "-"))
	assert.Equal(t, "deployment/hello unchanged\n", x.ok("apply", "-f", "-"))
	assert.Equal(t, "deployment/hello configured (dry run)\n", x.ok("apply", "-f", filepath.Join(example, "hello-v2.yaml"), "--dry-run"))
	stored, err := x.fleet.Deployments().Get(t.Context(), "hello")
	require.NoError(t, err)
	assert.EqualValues(t, 1, stored.Generation)
}

func TestApplyStoresNothingWhenOneIsManagedElsewhere(t *testing.T) {
	x := newTerminal(t)
	selector := contracts.LabelSelector{}
	_, err := x.fleet.Deployments().Create(t.Context(), domain.FleetDeployment{
		Name: "web", Origin: contracts.OriginKubernetes,
		Spec: contracts.DeploymentSpec{TargetSelector: &selector, Score: contracts.ReconcileScore{Type: "ProcessV0", Data: []byte(`{"services":[{"name":"a","command":["/a"]}]}`)}},
	})
	require.NoError(t, err)
	r := x.run("apply", "-f", filepath.Join(example, "hello.yaml"), "-f", filepath.Join(example, "web-podman.yaml"))
	assert.Equal(t, 1, r.code)
	assert.Empty(t, r.stdout)
	assert.Contains(t, r.stderr, `deployment "web" is managed by kubernetes`)
	assert.Contains(t, r.stderr, "nothing was applied")
	_, err = x.fleet.Deployments().Get(t.Context(), "hello")
	require.ErrorIs(t, err, domain.ErrNotFound)

	r = x.run("delete", "deployment", "web")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "managed by kubernetes")
}

// aFleet has a device of each status and a deployment that fails on one.
func aFleet(t *testing.T) *terminal {
	t.Helper()
	x := newTerminal(t)
	x.register("lyon-01", contracts.Labels{"site": "lyon"})
	x.register("paris-01", contracts.Labels{"site": "paris"})
	x.register("paris-02", contracts.Labels{"site": "paris"})
	x.register("nice-01", contracts.Labels{"site": "nice"})
	_, err := domain.UpdateDevice(t.Context(), x.fleet.Devices(), "nice-01", func(d *domain.FleetDevice) error { d.Revoked = true; return nil })
	require.NoError(t, err)
	x.says("lyon-01", running("hello"))
	pass(10 * time.Minute)
	x.says("paris-01", failing("hello"), running("other"))
	x.says("stranger")
	x.applyHello()
	x.status("hello", contracts.DeploymentStatus{
		ObservedGeneration: 1, Matched: 3, Updated: 2, Pending: 1, Running: 1, Failed: 1, Offline: 2,
		Problems: []contracts.Problem{{Device: "paris-01", Phase: contracts.PhaseFailed, Reason: contracts.ReasonCrashLoop, Message: "exit code 3"}},
	}, contracts.ConditionStalled)
	for _, e := range []contracts.Event{
		{Kind: contracts.EventDeviceOnline, Device: "paris-01", Time: time.Now().Add(-2 * time.Hour), Actor: "operator"},
		{Kind: contracts.EventDeploymentApplied, Deployment: "hello", Time: time.Now().Add(-time.Minute)},
		{Kind: contracts.EventWorkloadFailed, Device: "paris-01", Deployment: "hello", Reason: "CrashLoop", Message: "exit\ncode 3", Time: time.Now()},
	} {
		require.NoError(t, x.fleet.Events().Append(t.Context(), e))
	}
	return x
}

func TestGetDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := aFleet(t)
		assert.Equal(t, `NAME       STATUS         DEPLOYMENTS   AGENT   LAST-SEEN
lyon-01    Offline        1/1           v0.9    10m
nice-01    Revoked        0/0           -       never
paris-01   Online         1/2           v0.9    0s
paris-02   Never seen     0/0           -       never
stranger   Unregistered   0/0           v0.9    0s
`, x.ok("get", "devices"))
		assert.Equal(t, "device/paris-01\ndevice/paris-02\n", x.ok("get", "dev", "-l", "site=paris", "-o", "name"))
		assert.Equal(t, "device/stranger\n", x.ok("get", "device", "-l", "!site", "-o", "name"))
		assert.Contains(t, x.ok("get", "devices", "-l", "device.fleet.nationtech.io/arch=arm64,site", "-o", "wide"),
			"LABELS\nlyon-01    Offline   1/1           v0.9    10m         device.fleet.nationtech.io/arch=arm64,fleet.nationtech.io/device=lyon-01,site=lyon\n")

		r := x.run("get", "devices", "lyon-01", "nope")
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.stdout, "lyon-01")
		assert.Equal(t, "Error: there is no device \"nope\": see `fleet get devices`\n", r.stderr)
	})
}

func TestGetDevicesAsData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := aFleet(t)
		const want = `{"name":"lyon-01","status":"Offline","labels":{"device.fleet.nationtech.io/arch":"arm64","fleet.nationtech.io/device":"lyon-01","site":"lyon"},
			"lastSeen":"2000-01-01T00:00:00Z","registeredAt":"2000-01-01T00:00:00Z","agentVersion":"v0.9","appliedGeneration":7,"startedAt":"2000-01-01T00:00:00Z",
			"inventory":{"cpus":4,"memoryBytes":8589934592,"model":"Raspberry \u001b[31mPi"},
			"deployments":[{"name":"hello","generation":1,"phase":"Running","since":"2000-01-01T00:00:00Z","services":[{"name":"a","state":"Running","restarts":2,"pid":42}]}]}`
		assert.JSONEq(t, want, x.ok("get", "device/lyon-01", "-o", "json"))
		var fromYAML any
		require.NoError(t, yaml.Unmarshal([]byte(x.ok("get", "device/lyon-01", "-o", "yaml")), &fromYAML))
		data, err := json.Marshal(fromYAML)
		require.NoError(t, err)
		assert.JSONEq(t, want, string(data))

		var list struct {
			Items []struct{ Name, Status string }
		}
		require.NoError(t, json.Unmarshal([]byte(x.ok("get", "devices", "-o", "json")), &list))
		require.Len(t, list.Items, 5)
		assert.Equal(t, "NeverSeen", list.Items[3].Status)
		assert.JSONEq(t, `{"items":[]}`, x.ok("get", "devices", "-l", "x=y", "-o", "json"))
	})
}

func TestGetDeployments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := aFleet(t)
		x.ok("apply", "-f", filepath.Join(example, "web-podman.yaml"))
		x.status("old", contracts.DeploymentStatus{ObservedGeneration: 3, Removing: true, Matched: 1, Pending: 1})
		pass(90 * time.Second)
		assert.Equal(t, `NAME    TARGETED   UPDATED   RUNNING   FAILED   OFFLINE   STATUS     AGE
hello   3          2         1         1        2         Stalled    90s
old     1          0         0         0        0         Removing   -
web     -          -         -         -        -         Waiting    90s
`, x.ok("get", "deployments"))
		assert.Contains(t, x.ok("get", "deploy", "hello", "-o", "wide"), "1            1         0          ProcessV0   site       paris-01: CrashLoop: exit code 3\n")
		assert.Equal(t, "deployment/web\n", x.ok("get", "deployments", "-l", "team in (shop)", "-o", "name"))

		var view struct {
			Name, State, Origin string
			Generation          uint64
			Spec                contracts.DeploymentSpec
			Status              struct {
				Targeted, Running int
				Problems          []map[string]string
			}
		}
		require.NoError(t, json.Unmarshal([]byte(x.ok("get", "deployment", "hello", "-o", "json")), &view))
		assert.Equal(t, "Stalled", view.State)
		assert.Equal(t, "cli", view.Origin)
		assert.Equal(t, 3, view.Status.Targeted)
		assert.Equal(t, "CrashLoop", view.Status.Problems[0]["reason"])
		require.NoError(t, view.Spec.Validate())
	})
}

func TestGetEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := aFleet(t)
		const header = "LAST-SEEN   KIND                OBJECT             REASON      MESSAGE\n"
		assert.Equal(t, header+
			"120m        DeviceOnline        device/paris-01    -\n"+
			"60s         DeploymentApplied   deployment/hello   -\n"+
			"0s          WorkloadFailed      paris-01/hello     CrashLoop   exit code 3\n", x.ok("get", "events"))
		assert.NotContains(t, x.ok("get", "events", "--since", "1h"), "DeviceOnline")
		assert.Equal(t, 2, strings.Count(x.ok("get", "events", "--kind", "DeviceOnline"), "\n"))
		assert.NotContains(t, x.ok("get", "events", "hello"), "DeviceOnline")

		b := x.start("get", "events", "--follow", "--since", "30s", "-o", "json")
		synctest.Wait()
		require.NoError(t, x.fleet.Events().Append(t.Context(), contracts.Event{Kind: contracts.EventDeviceOffline, Device: "lyon-01", Time: time.Now()}))
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(b.taken()), "\n")
		require.Len(t, lines, 2)
		assert.JSONEq(t, `{"time":"2000-01-01T00:10:00Z","kind":"DeviceOffline","device":"lyon-01"}`, lines[1])
		b.cancel()
		assert.Equal(t, 0, (<-b.done).code)
	})
}

func TestGetWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := aFleet(t)
		b := x.start("get", "devices", "--watch", "-l", "site")
		synctest.Wait()
		assert.Contains(t, b.taken(), "paris-02   Never seen")
		pass(10 * time.Second)
		assert.Empty(t, b.taken(), "time alone is no change")

		x.says("paris-02")
		x.says("stranger") // is not chosen
		pass(time.Second)
		assert.Equal(t, "paris-02   Online       0/0           v0.9    0s\n", b.taken())

		pass(91 * time.Second)
		assert.Empty(t, strings.ReplaceAll(b.taken(), "paris-01   Offline      1/2           v0.9    105s\n", ""))
		x.ok("delete", "device", "lyon-01")
		pass(time.Second)
		assert.Contains(t, b.taken(), "lyon-01    Deleted")
		pass(time.Minute)
		assert.Contains(t, b.taken(), "paris-02   Offline", "silence alone is a change")
		b.cancel()
		r := <-b.done
		assert.Equal(t, 0, r.code)
		assert.Empty(t, r.stderr)
	})
}

func TestDescribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := aFleet(t)
		device := x.ok("describe", "device", "paris-01")
		for _, want := range []string{
			"Status:         Online (last seen 0s ago)\n", "Model:          Raspberry \ufffd[31mPi\n", "Hardware:       4 CPUs, 8.0 GiB memory\n",
			"                site=paris\n", "Desired state:  generation 7 applied\n", "hello   1            Failed    0s      CrashLoop: exit code 3\n",
			"other/a", "WorkloadFailed   paris-01/hello",
		} {
			assert.Contains(t, device, want)
		}
		deployment := x.ok("describe", "deployment/hello")
		for _, want := range []string{
			"Status:         Stalled\n", "Selector:       site\n", "greeter /bin/sh", "3 targeted, 2 updated to generation 1\n",
			"Stalled       True     0s      Test\n", "paris-01   Failed   CrashLoop   exit code 3\n", "DeploymentApplied",
		} {
			assert.Contains(t, deployment, want)
		}
		assert.NotContains(t, deployment, "GREETING", "variables and arguments may be secrets")
		r := x.run("describe", "device", "nope")
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.stderr, `no device "nope"`)
	})
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := aFleet(t)
		assert.Equal(t, `Fleet:          nats://memory:4222
Devices:        5 (1 online, 1 offline, 1 never seen, 1 revoked, 1 unregistered)
Deployments:    1 (1 stalled)

By deployment:
  NAME    RUNNING   STATUS
  hello   1/3       Stalled
Problems:
  OBJECT             STATUS         MESSAGE
  deployment/hello   Stalled        Test
  device/lyon-01     Offline        last seen 10m ago
  paris-01/hello     Failed         CrashLoop: exit code 3
  device/stranger    Unregistered   it connects but is in no registry; last seen 0s ago
`, x.ok("status"))
		var status struct {
			Server   string
			Devices  map[string]int
			Problems []map[string]string
		}
		require.NoError(t, json.Unmarshal([]byte(x.ok("status", "-o", "json")), &status))
		assert.Equal(t, 1, status.Devices["NeverSeen"])
		assert.Len(t, status.Problems, 4)
	})
	assert.Contains(t, newTerminal(t).ok("status"), "Devices:        none\n")
}

func TestLabel(t *testing.T) {
	x := newTerminal(t)
	x.register("a", contracts.Labels{"site": "paris"})
	x.register("b", contracts.Labels{"site": "paris", "ring": "2"})
	assert.Equal(t, "device/a labeled\n", x.ok("label", "device", "a", "ring=1", "x=y"))
	assert.Equal(t, "device/a not labeled\n", x.ok("label", "device", "a", "ring=1"))
	r := x.run("label", "devices", "-l", "site=paris", "ring=1")
	assert.Equal(t, 1, r.code)
	assert.Equal(t, "device/a not labeled\n", r.stdout)
	assert.Equal(t, "Error: device \"b\" has label ring=2 already: change it with --overwrite\n", r.stderr)
	assert.Equal(t, "device/a not labeled\ndevice/b labeled\n", x.ok("label", "devices", "-l", "site=paris", "ring=1", "--overwrite"))
	assert.Equal(t, "device/a unlabeled\n", x.ok("label", "device/a", "x-", "nope-"))
	stored, err := x.fleet.Devices().Get(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, contracts.Labels{"site": "paris", "ring": "1"}, stored.Labels)

	for _, args := range [][]string{
		{"device", "a"},
		{"device", "a=b"},
		{"device", "a", "device.fleet.nationtech.io/arch=x"},
		{"device", "a", "k=not ok"},
		{"device", "a", "k=v", "k-"},
		{"device", "a", "k=v", "b"},
		{"deployment", "a", "k=v"},
		{"device", "a", "k=v", "-l", "x=y"},
		{"device", "k=v", "-l", "x in y"},
	} {
		assert.Equal(t, 2, x.run(append([]string{"label"}, args...)...).code, args)
	}
	assert.Equal(t, 1, x.run("label", "device", "nope", "k=v").code)
	assert.Equal(t, 1, x.run("label", "device", "k=v", "-l", "site=nowhere").code)
}

func TestUsage(t *testing.T) {
	x := newTerminal(t)
	for text, want := range map[string]string{
		"get":                                  "name at least one of devices, deployments or events",
		"get pods":                             `"pods" is not known here`,
		"get devices -o xml":                   "-o xml is unknown: use wide, json, yaml or name",
		"get devices --since 1h":               "are for events",
		"get events -l a=b":                    "events have no labels",
		"get events -o name":                   "events have no names",
		"get events --kind Nope":               `"Nope" is not a known event kind`,
		"get devices -l a=b=c":                 "a=b=c",
		"get devices a -l a=b":                 "not both",
		"get device/a deployment/b":            "one kind at a time",
		"aply -f x":                            "did you mean apply?",
		"rollout pause web":                    `has no command "pause"`,
		"rollout":                              "history, status, undo",
		"rollout status":                       "name one deployment",
		"rollout status device/x":              "deployments",
		"apply":                                "-f",
		"apply x":                              `unexpected argument "x"`,
		"delete deployment":                    "which deployment?",
		"logs paris-01":                        "DEVICE/DEPLOYMENT",
		"logs Paris/web":                       "DNS-1123",
		"exec":                                 "name one device",
		"exec paris-01":                        "after --",
		"exec paris-01 uname":                  "put -- before the command",
		"exec paris-01 --":                     "after --",
		"exec paris-01 lyon-01 -- uname":       "name one device",
		"exec Paris -- uname":                  "DNS-1123",
		"exec a/b/c/d -- uname":                "DEVICE/DEPLOYMENT/SERVICE",
		"exec a/ -- uname":                     "deployment: must not be empty",
		"exec a/b/ -- uname":                   "no service",
		"exec a --timeout 1h -- uname":         "--timeout",
		"exec a -o wide -- uname":              "-o",
		"ping":                                 "device",
		"ping -c 0 a":                          "--count",
		"version --nope":                       "unknown flag: --nope; see `fleet version --help`",
		"completion tcsh9":                     "powershell",
		"get devices --server a:b":             "must be a URL",
		"get devices --nkey a --user b":        "must be empty when there is an nkey file",
		"get devices --heartbeat-interval 1ms": "from 1s to 1h",
	} {
		r := x.run(strings.Fields(text)...)
		assert.Equal(t, 2, r.code, "fleet %s: %s", text, r.stderr)
		assert.Contains(t, r.stderr, want, text)
		assert.True(t, strings.HasPrefix(r.stderr, "Error: "), r.stderr)
		assert.Equal(t, 1, strings.Count(r.stderr, "\n"), "no dump: %s", r.stderr)
		assert.Empty(t, r.stdout, text)
	}
}

func TestHelpHasExamplesEverywhere(t *testing.T) {
	x := newTerminal(t)
	for _, command := range []string{
		"", "apply", "get", "describe", "delete", "label", "rollout", "rollout status", "rollout history", "rollout undo",
		"logs", "exec", "ping", "reconcile", "status", "version", "context", "context list", "context use", "context show",
	} {
		help := x.ok(append(strings.Fields(command), "--help")...)
		assert.Contains(t, help, "Examples:\n  ", command)
	}
	assert.Contains(t, x.ok("version"), "fleet v1.2.3 ")
	assert.Equal(t, "v1.2.3\n", x.ok("--version"))
	assert.Contains(t, x.ok("completion", "bash"), "__start_fleet")
}

func TestCompletion(t *testing.T) {
	x := newTerminal(t)
	x.register("a1", nil)
	x.register("a2", nil)
	x.applyHello()
	for line, want := range map[string]string{
		"describe device ":      "a1\na2\n",
		"describe device a1 ":   "a2\n",
		"rollout status ":       "hello\n",
		"logs a1/":              "a1/hello\n",
		"logs ":                 "a1/\na2/\n",
		"exec a1/":              "a1/hello\n",
		"exec ":                 "a1\na2\n",
		"delete ":               "deployments\ndevices\n",
		"get events --kind Dev": "DeviceOnline\n",
	} {
		words := strings.Split(line, " ")
		out := x.run(append([]string{"__complete"}, words...)...).stdout
		assert.True(t, strings.HasPrefix(out, want), "%s: %s", line, out)
	}
	x.fleet.Stop()
	assert.Equal(t, ":4\n", x.run("__complete", "ping", "").stdout, "nothing, and no error")
}

func TestWhichFleet(t *testing.T) {
	x := newTerminal(t)
	config := filepath.Join(x.env["HOME"], ".config", "harmony-fleet", "contexts")
	require.NoError(t, os.MkdirAll(config, 0o700))
	for name, text := range map[string]string{
		"dev":  `{"server":"nats://dev:1","nkeyFile":"/dev.nk","heartbeatInterval":"5s"}`,
		"prod": `{"server":"tls://prod:1","user":"u","passwordFile":"/p"}`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(config, name+".json"), []byte(text), 0o600))
	}
	server := func(args ...string) string {
		x.ok(append([]string{"get", "devices"}, args...)...)
		return join(x.connected.Server, x.connected.NKeyFile, x.connected.User, x.connected.AccessTokenFile)
	}
	assert.Equal(t, "nats://memory:4222", server())
	assert.Equal(t, "nats://dev:1 /dev.nk", server("--context", "dev"), "the command line wins")
	x.env[cli.EnvContext] = "prod"
	assert.Equal(t, 2, x.run("get", "devices").code, "the environment must not be ambiguous")
	delete(x.env, cli.EnvServer)
	assert.Equal(t, "tls://prod:1 u", server())
	assert.Equal(t, "tls://prod:1 /mine.nk", server("--nkey", "/mine.nk"))
	assert.Equal(t, "tls://prod:1 /mine.token", server("--access-token-file", "/mine.token"))
	x.env[cli.EnvAccessTokenFile] = "/env.token"
	assert.Equal(t, "tls://prod:1 /env.token", server())
	assert.Equal(t, "tls://prod:1 /mine.nk", server("--nkey", "/mine.nk"))
	delete(x.env, cli.EnvAccessTokenFile)
	assert.Equal(t, "nats://other:1", server("--server", "nats://other:1"), "no context's credential goes to another server")
	delete(x.env, cli.EnvContext)

	r := x.run("get", "devices")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "no fleet is chosen: start a local one with `fleet dev`")
	assert.Equal(t, "now using context \"dev\"\n", x.ok("context", "use", "dev"))
	assert.Equal(t, "nats://dev:1 /dev.nk", server())
	assert.Equal(t, "nats://other:1", server("--server", "nats://other:1"))
	assert.Equal(t, "CURRENT   NAME   SERVER\n*         dev    nats://dev:1\n          prod   tls://prod:1\n", x.ok("context", "list"))
	assert.Equal(t, "server: \"nats://dev:1\"\nnkeyFile: /dev.nk\nheartbeatInterval: \"5s\"\n", x.ok("context", "show"))
	r = x.run("context", "use", "nope")
	assert.Equal(t, 1, r.code)
	assert.Equal(t, "Error: no context named \"nope\": see `fleet context list`\n", r.stderr)
}

func join(parts ...string) string { return strings.Join(strings.Fields(strings.Join(parts, " ")), " ") }

// TestADeviceThatAnsweredIsNotCalledAway: a device with a dead engine is there, and
// when it was last seen does not help.
func TestADeviceThatAnsweredIsNotCalledAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newTerminal(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- x.fleet.Device("a").Serve(ctx, func(context.Context, contracts.Verb, []byte) []byte {
				return domain.Answer(nil, domain.Errorf(domain.ErrUnavailable, "podman does not answer at /run/podman/podman.sock"))
			})
		}()
		synctest.Wait()
		for _, args := range [][]string{{"logs", "-f", "a/web"}, {"logs", "a/web/main"}, {"reconcile", "a"}} {
			r := x.run(args...)
			assert.Equal(t, result{code: 1, stderr: "Error: device \"a\" answered, but cannot do it now: podman does not answer at /run/podman/podman.sock; " +
				"see what it reports with `fleet describe device a`, or run `fleet-agent doctor` on it\n"}, r)
		}
		r := x.run("logs", "gone/web")
		assert.Contains(t, r.stderr, "see when it was last seen: `fleet describe device gone`")
		cancel()
		require.NoError(t, <-done)
	})
}

func TestConnectErrorsSayWhatToDo(t *testing.T) {
	x := newTerminal(t)
	x.connectError = domain.Errorf(domain.ErrUnavailable, "connection refused")
	r := x.run("get", "devices")
	assert.Equal(t, 1, r.code)
	assert.Equal(t, "Error: cannot reach the fleet at nats://memory:4222: connection refused; start a local fleet with `fleet dev`, or name another with --server or --context\n", r.stderr)
	x.connectError = domain.Errorf(domain.ErrUnauthenticated, "Authorization Violation")
	assert.Contains(t, x.run("get", "devices").stderr, "refused the credential")
	x.connectError = nil
	x.fleet.Stop()
	r = x.run("get", "devices")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "stopped")
}
