package metrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

const oddName = "odd \"name\" \\ with\nlines \xff"

func status() agent.Status {
	started := time.Date(2026, 1, 2, 3, 4, 5, 500e6, time.UTC)
	deployment := func(name contracts.DeploymentName, phase contracts.Phase, wanted, applied uint64) agent.DeploymentStatus {
		return agent.DeploymentStatus{
			DeploymentReport: contracts.DeploymentReport{
				Name: name, Phase: phase, Generation: wanted,
				Services: []contracts.ServiceReport{{Name: "main", Restarts: 3}},
			},
			AppliedGeneration: applied,
		}
	}
	return agent.Status{
		Version: "v1.2.3", StartedAt: started, LastReportAt: started.Add(time.Minute), DesiredGeneration: 7,
		Link:        domain.LinkState{Connected: true},
		Deployments: []agent.DeploymentStatus{deployment("api", contracts.PhaseFailed, 2, 0), deployment("web", contracts.PhaseRunning, 4, 4)},
		Runtimes:    []agent.RuntimeStatus{{Name: oddName, SeenAt: started}, {Name: "process", Problem: "no"}},
	}
}

// values parses a page and returns each sample as NAME{label="value",…}.
func values(t *testing.T, page string) (samples map[string]float64, families []string) {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(page))
	require.NoError(t, err, page)
	samples = map[string]float64{}
	for name, family := range parsed {
		families = append(families, name)
		assert.NotEmpty(t, family.GetHelp(), name)
		for _, metric := range family.GetMetric() {
			labels := ""
			for _, label := range metric.GetLabel() {
				labels += "," + label.GetName() + "=" + label.GetValue()
			}
			key := name + "{" + strings.TrimPrefix(labels, ",") + "}"
			switch {
			case metric.Counter != nil:
				samples[key] = metric.GetCounter().GetValue()
			case metric.Gauge != nil:
				samples[key] = metric.GetGauge().GetValue()
			case metric.Histogram != nil:
				samples[key] = float64(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	return samples, families
}

func workload(name contracts.DeploymentName, program string) domain.Workload {
	return domain.Workload{Name: name, Generation: 1, Score: contracts.ReconcileScore{
		Type: contracts.ScoreProcessV0, Data: []byte(`{"services":[{"name":"main","command":["` + program + `"]}]}`),
	}}
}

func TestPage(t *testing.T) {
	t.Parallel()
	counts := NewCounts()
	host := memory.NewRuntime()
	host.Behave("broken", memory.Behaviour{Fail: contracts.ReasonCommandNotFound})
	runtime, quiet := counts.Runtime(host), func(contracts.Reason, string) {}
	require.NoError(t, runtime.Apply(t.Context(), workload("web", "serve"), quiet))
	require.Error(t, runtime.Apply(t.Context(), workload("api", "broken"), quiet))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, runtime.Apply(cancelled, workload("db", "serve"), quiet))
	require.NoError(t, runtime.Remove(t.Context(), "web"))

	reporter := counts.Reporter(memory.New().Device("pi"))
	require.NoError(t, reporter.Heartbeat(t.Context(), contracts.Heartbeat{AgentVersion: "v1"}))
	require.Error(t, reporter.Report(t.Context(), contracts.DeviceReport{Deployments: []contracts.DeploymentReport{{}}}))

	samples, families := values(t, Page(status(), counts))
	assert.ElementsMatch(t, Names(), families)
	for key, want := range map[string]float64{
		"fleet_agent_start_time_seconds{}":                                             1767323045.5,
		"fleet_agent_link_up{}":                                                        1,
		"fleet_agent_desired_generation{}":                                             7,
		"fleet_agent_desired_state_refused{}":                                          0,
		"fleet_agent_deployments{phase=Running}":                                       1,
		"fleet_agent_deployments{phase=Failed}":                                        1,
		"fleet_agent_deployments{phase=Degraded}":                                      0,
		"fleet_agent_deployment_desired_generation{deployment=api}":                    2,
		"fleet_agent_deployment_applied_generation{deployment=api}":                    0,
		"fleet_agent_service_restarts_total{deployment=web,service=main}":              3,
		"fleet_agent_runtime_up{runtime=process}":                                      0,
		"fleet_agent_reconcile_duration_seconds{operation=apply}":                      2,
		"fleet_agent_reconcile_duration_seconds{operation=remove}":                     1,
		"fleet_agent_messages_sent_total{kind=heartbeat}":                              1,
		"fleet_agent_messages_failed_total{kind=report}":                               1,
		"fleet_agent_last_report_timestamp_seconds{}":                                  1767323105.5,
		"fleet_agent_runtime_up{runtime=odd \"name\" \\ with\nlines \uFFFD}":           1,
		"fleet_agent_reconcile_failures_total{operation=apply,reason=CommandNotFound}": 1,
	} {
		got, ok := samples[key]
		assert.True(t, ok, "%s is missing", key)
		assert.InDelta(t, want, got, 0, key)
	}
}

func TestPageOfAnAgentThatJustStarted(t *testing.T) {
	t.Parallel()
	samples, _ := values(t, Page(agent.Status{}, NewCounts()))
	assert.Zero(t, samples["fleet_agent_link_up{}"])
	assert.NotContains(t, samples, "fleet_agent_last_report_timestamp_seconds{}")
}

func TestNamesAreDocumented(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../../../docs/operations.md")
	require.NoError(t, err)
	for _, name := range Names() {
		assert.True(t, strings.Contains(string(docs), "`"+name+"`"), "%s is missing in docs/operations.md", name)
	}
}

func TestCountedRuntimeRunsCommandsIfItCan(t *testing.T) {
	t.Parallel()
	_, can := NewCounts().Runtime(memory.NewRuntime()).(domain.CommandRunner)
	assert.True(t, can)
	_, can = NewCounts().Runtime(struct{ domain.WorkloadRuntime }{memory.NewRuntime()}).(domain.CommandRunner)
	assert.False(t, can)
}

func TestDurationsAreCumulative(t *testing.T) {
	t.Parallel()
	counts := NewCounts()
	for _, d := range []time.Duration{time.Millisecond, time.Second, time.Hour} {
		counts.took(operationApply, d)
	}
	e := &exposition{}
	counts.write(e)
	for _, line := range []string{
		`_bucket{operation="apply",le="0.005"} 1`, `_bucket{operation="apply",le="2"} 2`,
		`_bucket{operation="apply",le="600"} 2`, `_bucket{operation="apply",le="+Inf"} 3`, `_sum{operation="apply"} 3601.001`,
	} {
		assert.Contains(t, e.String(), nameDuration+line+"\n")
	}
}

func TestCheckAddress(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"127.0.0.1:9464", "[::1]:0", "localhost:9464", "unix:/run/x.sock"} {
		require.NoError(t, CheckAddress(good))
	}
	for _, bad := range []string{"", "9464", ":9464", "127.0.0.1", "127.0.0.1:", "unix:", "unix:x.sock"} {
		require.Error(t, CheckAddress(bad), bad)
	}
}

// serve runs a server until the test ends and returns its address.
func serve(t *testing.T, address string) net.Addr {
	t.Helper()
	listening := make(chan net.Addr, 1)
	server := NewServer(address, func() string { return Page(status(), NewCounts()) }, slog.New(slog.DiscardHandler))
	server.Listening = func(a net.Addr) { listening <- a }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-done) })
	select {
	case a := <-listening:
		return a
	case <-time.After(time.Minute):
		require.FailNow(t, "the server does not listen")
		return nil
	}
}

func get(t *testing.T, network, address, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, address)
		},
	}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://agent"+path, nil)
	require.NoError(t, err)
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func TestServer(t *testing.T) {
	t.Parallel()
	address := serve(t, "127.0.0.1:0").String()
	code, body := get(t, "tcp", address, "/metrics")
	assert.Equal(t, 200, code)
	_, families := values(t, body)
	assert.Contains(t, families, "fleet_agent_build_info")
	code, _ = get(t, "tcp", address, "/")
	assert.Equal(t, 404, code)
}

func TestServerOnASocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "m.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	left.SetUnlinkOnClose(false)
	require.NoError(t, left.Close()) // as an agent leaves it that was killed
	serve(t, "unix:"+path)
	code, body := get(t, "unix", path, "/metrics")
	assert.Equal(t, 200, code)
	assert.Contains(t, body, "fleet_agent_link_up 1\n")
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o660), info.Mode().Perm())
}

func TestServerTakesNothingThatIsAnothers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	socket := filepath.Join(dir, "s.sock")
	other, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	require.NoError(t, err)
	defer other.Close()
	for _, path := range []string{file, socket} {
		require.Error(t, removeStale(t.Context(), path))
		require.FileExists(t, path)
	}
}

func TestServerWhoseAddressIsTakenEndsNothing(t *testing.T) {
	t.Parallel()
	other, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer other.Close()
	logged := make(logLines, 16)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- NewServer(other.Addr().String(), func() string { return "" }, slog.New(slog.NewTextHandler(logged, nil))).Run(ctx)
	}()
	assert.Contains(t, <-logged, "metrics cannot be served")
	cancel()
	require.NoError(t, <-done)
}

// logLines is a log, line by line.
type logLines chan string

func (l logLines) Write(line []byte) (int, error) {
	select {
	case l <- string(line):
		return len(line), nil
	default:
		return 0, errors.New("nobody reads")
	}
}
