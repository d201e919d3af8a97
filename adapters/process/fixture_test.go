package process

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	agentDirVariable   = "PROCESS_TEST_AGENT_DIR"
	agentScoreVariable = "PROCESS_TEST_AGENT_SCORE"
	patience           = 20 * time.Second
	glance             = 10 * time.Millisecond
)

// TestMain is also the agent that a test kills: the test binary runs itself.
func TestMain(m *testing.M) {
	if dir := os.Getenv(agentDirVariable); dir != "" {
		if err := beAgent(dir, os.Getenv(agentScoreVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func beAgent(dir, score string) error {
	r, err := New(dir, Options{})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(context.Background()) }()
	if err := r.Apply(context.Background(), workload("web", 1, json.RawMessage(score)), nil); err != nil {
		return err
	}
	fmt.Println("applied")
	return <-ended
}

// startAgent runs an agent as a process of its own, until the score is applied.
func (f *fixture) startAgent(score string) *exec.Cmd {
	f.t.Helper()
	agent := exec.Command(os.Args[0])
	agent.Env = append(os.Environ(), agentDirVariable+"="+f.dir, agentScoreVariable+"="+score)
	agent.Stderr = os.Stderr
	output, err := agent.StdoutPipe()
	require.NoError(f.t, err)
	require.NoError(f.t, agent.Start())
	f.t.Cleanup(func() { _ = agent.Process.Kill(); _ = agent.Wait() })
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(f.t, err)
	require.Equal(f.t, "applied\n", line)
	return agent
}

// fixture is one workload directory, whose processes end with the test.
type fixture struct {
	t   *testing.T
	dir string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	f := &fixture{t: t, dir: dir}
	t.Cleanup(f.killAll)
	return f
}

// killAll kills by record and by mark whatever the test left running.
func (f *fixture) killAll() {
	r, err := New(f.dir, Options{})
	if err != nil {
		f.t.Errorf("the directory is still in use: %v", err)
		return
	}
	for _, s := range r.services() {
		if s.lock(context.Background()) == nil {
			st := s.snapshot()
			signalAll(s.members(st.record.Process), syscall.SIGKILL)
			s.settle()
			s.unlock()
		}
	}
	prefix := markVariable + "=" + r.mark + "/"
	for process := range processes() {
		environment, _ := os.ReadFile(procPath(process.pid, "environ"))
		if strings.Contains(string(environment), prefix) {
			_ = syscall.Kill(process.pid, syscall.SIGKILL)
		}
	}
}

// open makes a runtime that nothing supervises.
func (f *fixture) open(o Options) *Runtime {
	f.t.Helper()
	r, err := New(f.dir, o)
	require.NoError(f.t, err)
	return r
}

// run makes a runtime and supervises it until stop is called or the test ends.
func (f *fixture) run(o Options) (r *Runtime, stop func()) {
	f.t.Helper()
	r = f.open(o)
	return r, f.supervise(r)
}

func (f *fixture) supervise(r *Runtime) (stop func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(f.t, <-ended)
		}
	}
	f.t.Cleanup(stop)
	return stop
}

func quick() Options {
	return Options{BackoffBase: 10 * time.Millisecond, BackoffMax: 40 * time.Millisecond, StableAfter: time.Hour, PollInterval: glance}
}

func workload(name string, generation uint64, data json.RawMessage) domain.Workload {
	return domain.Workload{
		Name: contracts.DeploymentName(name), Generation: generation,
		Score: contracts.ReconcileScore{Type: contracts.ScoreProcessV0, Data: data},
	}
}

func score(t *testing.T, grace uint32, services ...contracts.ProcessService) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(contracts.ProcessV0{Services: services, Lifecycle: contracts.Lifecycle{GracePeriodSeconds: &grace}})
	require.NoError(t, err)
	return data
}

func shell(name, script string) contracts.ProcessService {
	return contracts.ProcessService{Name: name, Command: contracts.Command{"/bin/sh", "-c", script}}
}

const sleeper = "exec sleep 1000"

func (f *fixture) status(r *Runtime, name string) domain.WorkloadStatus {
	f.t.Helper()
	list, err := r.List(f.t.Context())
	require.NoError(f.t, err)
	for _, status := range list {
		if status.Name == contracts.DeploymentName(name) {
			return status
		}
	}
	require.Fail(f.t, "no such workload", name)
	return domain.WorkloadStatus{}
}

func (f *fixture) report(r *Runtime, name, service string) contracts.ServiceReport {
	f.t.Helper()
	for _, report := range f.status(r, name).Services {
		if report.Name == service {
			return report
		}
	}
	require.Fail(f.t, "no such service", service)
	return contracts.ServiceReport{}
}

func (f *fixture) eventually(condition func() bool, what string) {
	f.t.Helper()
	require.Eventually(f.t, condition, patience, glance, what)
}

// read returns a file that a service writes, once it holds a line.
func (f *fixture) read(elements ...string) string {
	f.t.Helper()
	path := filepath.Join(append([]string{f.dir}, elements...)...)
	var text string
	f.eventually(func() bool {
		data, _ := os.ReadFile(path)
		text = string(data)
		return strings.HasSuffix(text, "\n")
	}, path)
	return text
}

func running(pid int) bool {
	found, err := readStat(pid)
	return err == nil && !found.ended()
}
