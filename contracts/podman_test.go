package contracts_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

func manyStrings(n int) []string { return slices.Repeat([]string{"x"}, n) }

func TestPodmanRules(t *testing.T) {
	type p = *PodmanV0
	checkRefusals(t, podman, []refusal[PodmanV0]{
		{"no services", func(s p) { s.Services = nil }, "services", "must hold at least one service"},
		{"many services", func(s p) { s.Services = make([]PodmanService, 65) }, "services", "has 65 entries, at most 64"},
		{"many init containers", func(s p) { s.InitContainers = make([]InitContainer, 65) }, "initContainers", "has 65 entries, at most 64"},
		{"no name", func(s p) { s.Services[0].Name = "" }, "services[0].name", "must not be empty"},
		{"name", func(s p) { s.Services[0].Name = "Web" }, "services[0].name", `"Web" must be lower-case`},
		{"template as a name", func(s p) { s.Services[0].Name = "{{ .device.id }}" }, "services[0].name", "DNS-1123"},
		{"name twice", func(s p) { s.Services = append(s.Services, s.Services[0]) }, "services[1].name", `"web" is used twice`},
		{"name of a service and an init container", func(s p) { s.InitContainers[0].Name = "web" }, "initContainers[0].name", `"web" is used twice`},
		{"no image", func(s p) { s.Services[0].Image = "" }, "services[0].image", "must not be empty"},
		{"image of an init container", func(s p) { s.InitContainers[0].Image = "" }, "initContainers[0].image", "must not be empty"},
		{"pull policy", func(s p) { s.Services[0].PullPolicy = "Always" }, "services[0].pullPolicy", `"Always" is unknown: use missing, always or never`},
		{"empty command", func(s p) { s.Services[0].Command = Command{""} }, "services[0].command", "must not be empty"},
		{"NUL in the command", func(s p) { s.Services[0].Command = Command{"a", "b\x00"} }, "services[0].command[1]", "must not hold a NUL byte"},
		{"NUL in the arguments", func(s p) { s.Services[0].Args = []string{"\x00x"} }, "services[0].args[0]", "must not hold a NUL byte"},
		{"many arguments", func(s p) { s.Services[0].Args = manyStrings(257) }, "services[0].args", "has 257 entries, at most 256"},
		{"variable's name", func(s p) { s.Services[0].Env["A-B"] = "" }, "services[0].env", `variable name "A-B" must be letters`},
		{"variable's name that begins with a digit", func(s p) { s.Services[0].Env = map[string]string{"1A": ""} }, "services[0].env", "not beginning with a digit"},
		{"empty name of a variable", func(s p) { s.Services[0].Env = map[string]string{"": ""} }, "services[0].env", `variable name ""`},
		{"NUL in a variable", func(s p) { s.Services[0].Env["SITE"] = "\x00" }, "services[0].env.SITE", "must not hold a NUL byte"},
		{"many variables", func(s p) {
			for i := range 256 {
				s.Services[0].Env[fmt.Sprintf("A%d", i)] = ""
			}
		}, "services[0].env", "has 257 variables, at most 256"},
		{"volume", func(s p) { s.Services[0].Volumes[1] = "data" }, "services[0].volumes[1]", `"data" is not a volume`},
		{"tmpfs", func(s p) { s.Services[0].Tmpfs[0] = "run" }, "services[0].tmpfs[0]", `"run" must be an absolute path`},
		{"tmpfs with options", func(s p) { s.Services[0].Tmpfs[0] = "/run:size=1m" }, "services[0].tmpfs[0]", `without ":"`},
		{"capability", func(s p) { s.Services[0].CapAdd[0] = "NET ADMIN" }, "services[0].capAdd[0]", "is not a capability's name"},
		{"cpu", func(s p) { s.Services[0].Resources.CPU = "lots" }, "services[0].resources.cpu", `"lots" is not an amount of CPU`},
		{"memory", func(s p) { s.Services[0].Resources.Memory = "1.5Gi" }, "services[0].resources.memory", `"1.5Gi" is not an amount of memory`},
		{"port", func(s p) { s.Services[0].Ports[1] = "80" }, "services[0].ports[1]", `"80" is not a port: write hostPort:containerPort`},
		{"port twice", func(s p) { s.Services[0].Ports[1] = "8080:81" }, "services[0].ports[1]", "host port 8080/tcp is already used by service web"},
		{"restart", func(s p) { s.Services[0].Restart = "never" }, "services[0].restart", `"never" is unknown: use always, on-failure or no`},
		{"check without a command", func(s p) { s.Services[0].Healthcheck.Command = nil }, "services[0].healthcheck.command", "must not be empty"},
		{"check with an empty command", func(s p) { s.Services[0].Healthcheck.Command[0] = "" }, "services[0].healthcheck.command", "must not be empty"},
		{"NUL in the check", func(s p) { s.Services[0].Healthcheck.Command[1] = "\x00a" }, "services[0].healthcheck.command[1]", "NUL"},
		{"interval", func(s p) { s.Services[0].Healthcheck.Interval = -1 }, "services[0].healthcheck.interval", "is out of range: must be from 0s to 24h0m0s"},
		{"timeout", func(s p) { s.Services[0].Healthcheck.Timeout = Duration(time.Hour + 1) }, "services[0].healthcheck.timeout", "must be from 0s to 1h0m0s"},
		{"start period", func(s p) { s.Services[0].Healthcheck.StartPeriod = Duration(25 * time.Hour) }, "services[0].healthcheck.startPeriod", "25h0m0s is out of range"},
		{"retries", func(s p) { s.Services[0].Healthcheck.Retries = 101 }, "services[0].healthcheck.retries", "must be at most 100"},
		{"init timeout", func(s p) { s.InitContainers[0].TimeoutSeconds = 86401 }, "initContainers[0].timeoutSeconds", "must be at most 86400"},
		{"stop signal", func(s p) { s.Lifecycle.StopSignal = "TERM" }, "lifecycle.stopSignal", `"TERM" is unknown: use SIGTERM`},
		{"grace period", func(s p) { s.Lifecycle.GracePeriodSeconds = new(uint32(3601)) }, "lifecycle.gracePeriodSeconds", "must be at most 3600"},
	})
	checkAccepted(t, podman, []accepted[PodmanV0]{
		{"templates", func(s p) {
			const template = "{{ .device.labels.x }}"
			service := &s.Services[0]
			service.Image, service.Ports, service.Volumes = "registry/"+template, []string{template + ":80"}, []string{template + ":/data"}
			service.Tmpfs, service.Resources = []string{template}, Resources{CPU: template, Memory: template}
			service.Command, service.Args, service.User = Command{template}, []string{template}, template
			service.Env["SITE"] = template
		}},
		{"bare service", func(s p) {
			*s = PodmanV0{Services: []PodmanService{{PodmanContainer: PodmanContainer{Name: "web", Image: "web"}}}}
		}},
		{"one port of two addresses", func(s p) {
			s.Services[0].Ports = []string{"127.0.0.1:80:80", "127.0.0.2:80:80", "[::]:80:80", "80:80/udp"}
		}},
		{"two containers on one port inside", func(s p) { s.Services[0].Ports = []string{"80:80", "81:80"} }},
	})
}

func TestHostPortsConflict(t *testing.T) {
	conflicts := [][2]string{
		{"80:1", "80:2"},
		{"80:1/tcp", "80:2"},
		{"127.0.0.1:80:1", "80:1"},
		{"80:1", "127.0.0.1:80:1"},
		{"0.0.0.0:80:1", "127.0.0.1:80:1"},
		{"127.0.0.1:80:1", "0.0.0.0:80:1"},
		{"[::1]:80:1", "[::]:80:1"},
		{"[::]:80:1", "80:1"},
		{"[::1]:80:1", "[0:0:0:0:0:0:0:1]:80:1"},
	}
	for _, ports := range conflicts {
		score := PodmanV0{Services: []PodmanService{
			{PodmanContainer: PodmanContainer{Name: "first", Image: "a"}, Ports: ports[:1]},
			{PodmanContainer: PodmanContainer{Name: "second", Image: "a"}, Ports: []string{"{{ .device.labels.p }}:80", ports[1]}},
		}}
		assertFieldError(t, score.Validate(), "services[1].ports[1]", "is already used by service first")
	}
}

func TestProcessRules(t *testing.T) {
	type p = *ProcessV0
	checkRefusals(t, process, []refusal[ProcessV0]{
		{"no services", func(s p) { s.Services = nil }, "services", "must hold at least one service"},
		{"many services", func(s p) { s.Services = make([]ProcessService, 65) }, "services", "at most 64"},
		{"name", func(s p) { s.Services[0].Name = "a.b" }, "services[0].name", "DNS-1123"},
		{"name twice", func(s p) { s.Services = append(s.Services, s.Services[0]) }, "services[1].name", "is used twice"},
		{"no command", func(s p) { s.Services[0].Command = nil }, "services[0].command", "must not be empty"},
		{"empty command", func(s p) { s.Services[0].Command[0] = "" }, "services[0].command", "must not be empty"},
		{"NUL in the command", func(s p) { s.Services[0].Command[0] = "a\x00" }, "services[0].command[0]", "NUL"},
		{"long command", func(s p) { s.Services[0].Command = manyStrings(257) }, "services[0].command", "at most 256"},
		{"NUL in the arguments", func(s p) { s.Services[0].Args[0] = "a\x00" }, "services[0].args[0]", "NUL"},
		{"variable", func(s p) { s.Services[0].Env["a b"] = "" }, "services[0].env", `variable name "a b"`},
		{"relative directory", func(s p) { s.Services[0].Dir = "srv" }, "services[0].dir", `"srv" must be an absolute path`},
		{"NUL in the directory", func(s p) { s.Services[0].Dir = "/srv\x00" }, "services[0].dir", "must be an absolute path"},
		{"restart", func(s p) { s.Services[0].Restart = "Always" }, "services[0].restart", "use always, on-failure or no"},
		{"grace period", func(s p) { s.Lifecycle.GracePeriodSeconds = new(uint32(3601)) }, "lifecycle.gracePeriodSeconds", "at most 3600"},
	})
	checkAccepted(t, process, []accepted[ProcessV0]{
		{"templates", func(s p) { s.Services[0].Dir, s.Services[0].Command = "{{ .device.id }}", Command{"{{ .device.id }}"} }},
		{"bare service", func(s p) { *s = ProcessV0{Services: []ProcessService{{Name: "a", Command: Command{"true"}}}} }},
	})
}

func TestScoreRules(t *testing.T) {
	type s = *ReconcileScore
	data := func(text string) func(s) { return func(score s) { score.Data = []byte(text) } }
	checkRefusals(t, podmanScore, []refusal[ReconcileScore]{
		{"no type", func(score s) { score.Type = "" }, "type", "must not be empty: use PodmanV0 or ProcessV0"},
		{"unknown type", func(score s) { score.Type = "PodmanV1" }, "type", `"PodmanV1" is not a known score type: use PodmanV0 or ProcessV0`},
		{"long type", func(score s) { score.Type = ScoreType(strings.Repeat("x", 64)) }, "type", "must be at most 63 bytes"},
		{"no data", func(score s) { score.Data = nil }, "data", "must not be empty"},
		{"null data", data("null"), "data", "must not be empty"},
		{"data of another form", data("[]"), "data", "must be an object, is a JSON list"},
		{"data of another type", data(`{"services":[{"name":"a","command":"x","dir":"/"}]}`), "data.services[0].dir", "is not a known field"},
		{"wrong data", data(`{"services":[{"name":"a","image":""}]}`), "data.services[0].image", "must not be empty"},
	})
	assert.True(t, podmanScore().Known())
	assert.False(t, ReconcileScore{Type: "PodmanV1"}.Known())

	_, err := podmanScore().ProcessV0()
	assertFieldError(t, err, "services[0].command", "must not be empty")
	newer, err := ReconcileScore{Type: ScorePodmanV0, Data: []byte(`{"services":[{"name":"a","image":"b","newer":1}]}`)}.PodmanV0()
	require.NoError(t, err, "agents ignore what a newer operator wrote")
	assert.Equal(t, "b", newer.Services[0].Image)
}

func TestScoreDefaults(t *testing.T) {
	assert.Equal(t, 300*time.Second, InitContainer{}.Timeout())
	assert.Equal(t, time.Minute, podman().InitContainers[0].Timeout())
	assert.Equal(t, "SIGTERM", Lifecycle{}.Signal())
	assert.Equal(t, "SIGQUIT", podman().Lifecycle.Signal())
	assert.Equal(t, 30*time.Second, Lifecycle{}.GracePeriod())
	assert.Equal(t, time.Duration(0), podman().Lifecycle.GracePeriod(), "0 is not unset")
	assert.Equal(t, RestartAlways, RestartPolicy("").OrDefault())
	assert.Equal(t, RestartNever, RestartNever.OrDefault())
}

func TestCommandForms(t *testing.T) {
	tests := map[string]Command{
		`"check"`: {"check"}, `["a","b c"]`: {"a", "b c"}, `[]`: {}, `"a b"`: {"a b"},
	}
	for text, want := range tests {
		var got Command
		require.NoError(t, got.UnmarshalJSON([]byte(text)))
		assert.Equal(t, want, got)
	}
	for _, text := range []string{"1", "true", "{}", "[1]", `[["a"]]`, `["a",null]`} {
		_, err := Decode[ProcessV0]([]byte(`{"services":[{"name":"a","command":` + text + `}]}`))
		assertFieldError(t, err, "services[0].command", "must be a list of strings, or one string")
	}
}
