package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/keys"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const patience = 2 * time.Minute

// setting is a broker and a namespace that operators run with.
type setting struct {
	t         *testing.T
	env       *kubetest.Environment
	broker    *natstest.Server
	conn      *nats.Conn
	namespace string
	key       string
}

func newSetting(t *testing.T) *setting {
	t.Helper()
	env := kubernetes.Get(t)
	broker := natstest.Start(t, natstest.Options{})
	s := &setting{
		t: t, env: env, broker: broker, conn: broker.Operator(t), namespace: env.Namespace(t),
		key: filepath.Join(t.TempDir(), "signing.pem"),
	}
	_, err := keys.Generate(s.key)
	require.NoError(t, err)
	return s
}

// process is one operator.
type process struct {
	command *exec.Cmd
	done    chan struct{}
	health  string
}

// start runs an operator as a process of its own.
func (s *setting) start(identity string) *process {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	health := listener.Addr().String()
	require.NoError(s.t, listener.Close())
	command := exec.Command(os.Args[0], "run",
		"--server", s.broker.URL(), "--nkey-file", s.broker.OperatorSeedFile(), "--signing-key-file", s.key,
		"--identity", identity, "--lease-ttl", "3s", "--health-address", health,
		"--kubernetes="+s.env.Kubeconfig, "--namespace", s.namespace)
	command.Env = append(os.Environ(), asOperator+"=1")
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.Stdout, command.Stderr = s.t.Output(), s.t.Output()
	require.NoError(s.t, command.Start())
	p := &process{command: command, done: make(chan struct{}), health: health}
	go func() {
		defer close(p.done)
		_ = command.Wait()
	}()
	s.t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.done
}

// status is what /status of an operator says.
func (p *process) status() (status, bool) {
	var shown status
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get("http://" + p.health + "/status")
	if err != nil {
		return shown, false
	}
	defer response.Body.Close()
	return shown, json.NewDecoder(response.Body).Decode(&shown) == nil && shown.Kubernetes != nil
}

// page is what an operator serves at a path, empty when it does not.
func (p *process) page(path string) string {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get("http://" + p.health + path)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return string(text)
}

func (p *process) following() bool {
	shown, ok := p.status()
	return ok && shown.Kubernetes.Phase == kube.PhaseFollowing
}

func (s *setting) eventually(condition func() bool, what string) {
	s.t.Helper()
	require.Eventually(s.t, condition, patience, 50*time.Millisecond, what)
}

func (s *setting) register(id string) {
	s.t.Helper()
	_, err := nats.NewDeviceRegistry(s.conn).Create(s.t.Context(), domain.FleetDevice{
		ID: contracts.DeviceID(id), Labels: contracts.Labels{"site": "paris"}, RegisteredAt: time.Now(),
	})
	require.NoError(s.t, err)
}

// apply has kubectl apply a deployment.
func (s *setting) apply(name, argument string) {
	s.t.Helper()
	manifest := fmt.Sprintf(`{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Deployment","metadata":{"name":%q},"spec":{"targetSelector":{},
		"score":{"type":"ProcessV0","data":{"services":[{"name":"app","command":"sleep","args":[%q]}]}}}}`, name, argument)
	_, err := s.env.Kubectl(s.t.Context(), []byte(manifest), "apply", "-n", s.namespace, "-f", "-")
	require.NoError(s.t, err)
}

// argument returns what the fleet runs with, empty when it does not run.
func (s *setting) argument(name string) string {
	stored, err := nats.NewDeploymentStore(s.conn).Get(context.Background(), contracts.DeploymentName(name))
	if err != nil {
		return ""
	}
	return argumentOf(stored)
}

func argumentOf(stored domain.FleetDeployment) string {
	process, err := stored.Spec.Score.ProcessV0()
	if err != nil || len(process.Services) != 1 || len(process.Services[0].Args) != 1 {
		return ""
	}
	return process.Services[0].Args[0]
}

// get returns one field of a resource, empty when there is none.
func (s *setting) get(resource, path string) string {
	out, err := s.env.Kubectl(context.Background(), nil, "get", resource, "-n", s.namespace, "-o", "jsonpath="+path)
	if err != nil {
		return ""
	}
	return out
}

func TestRunWithKubernetes(t *testing.T) {
	t.Parallel()
	s := newSetting(t)
	p := s.start("a")
	s.eventually(p.following, "the operator follows")
	s.eventually(func() bool { return p.page("/readyz") == "Converged\nKubernetes: Following\n" }, "both parts say how they are")
	s.register("pi-1")
	s.apply("web", "60")
	s.eventually(func() bool { return s.argument("web") == "60" }, "kubectl reaches the fleet")
	s.eventually(func() bool { return s.get("fleetdev/pi-1", `{.metadata.labels.site}`) == "paris" }, "the fleet reaches kubectl")
	s.eventually(func() bool {
		return s.get("fleetdep/web", `{.status.conditions[?(@.type=="Available")].reason}`) == "AllOffline"
	},
		"the engine's word reaches kubectl")

	_, err := s.env.Kubectl(t.Context(), nil, "delete", "fleetdep/web", "-n", s.namespace, "--timeout=60s")
	require.NoError(t, err, "nobody has it, so it goes")
	require.Empty(t, s.argument("web"))

	require.NoError(t, p.command.Process.Signal(syscall.SIGTERM))
	<-p.done
	assert.Zero(t, p.command.ProcessState.ExitCode())
	assert.Empty(t, s.get("lease/fleet-operator", `{.spec.holderIdentity}`), "the lease is given back")
}

// rounds is how often the leader is killed. FLEET_HANDOVER_ROUNDS is for more.
func rounds(t *testing.T) int {
	t.Helper()
	n := 3
	if text := os.Getenv("FLEET_HANDOVER_ROUNDS"); text != "" {
		_, err := fmt.Sscan(text, &n)
		require.NoError(t, err)
	}
	return n
}

// Two operators; whichever writes resources is killed in the middle of changes
// from both sides. Nothing is lost, and nothing is done twice.
func TestTheLeaderIsKilled(t *testing.T) {
	t.Parallel()
	s := newSetting(t)
	operators := []*process{s.start("a"), s.start("b")}
	leader := func() int {
		for i, p := range operators {
			if p.following() {
				return i
			}
		}
		return -1
	}
	devices := 0
	for round := range rounds(t) {
		s.eventually(func() bool { return leader() >= 0 }, "somebody leads")
		var changes sync.WaitGroup
		changes.Go(func() {
			for i := range 3 {
				s.apply("steady", fmt.Sprintf("%d", 10*round+i+1))
				s.apply(fmt.Sprintf("once-%d-%d", round, i), "60")
			}
		})
		for range 10 {
			s.register(fmt.Sprintf("pi-%d", devices))
			devices++
		}
		killed := leader()
		if killed >= 0 {
			operators[killed].kill()
		}
		changes.Wait()
		last := fmt.Sprintf("%d", 10*round+3)
		s.eventually(func() bool { return s.argument("steady") == last }, "the last change is taken in")
		for i := range 3 {
			s.eventually(func() bool { return s.argument(fmt.Sprintf("once-%d-%d", round, i)) == "60" }, "no deployment is lost")
		}
		s.eventually(func() bool {
			return countWords(s.get("fleetdev", `{.items[*].metadata.name}`)) == devices
		}, "every device is shown")
		if killed >= 0 {
			operators[killed] = s.start(string(rune('a' + killed)))
		}
	}
	store := nats.NewDeploymentStore(s.conn)
	all, err := domain.ListDeployments(t.Context(), store)
	require.NoError(t, err)
	assert.Len(t, all, 1+3*rounds(t))
	for _, deployment := range all {
		history, err := store.History(t.Context(), deployment.Name)
		require.NoError(t, err)
		if deployment.Name != "steady" {
			assert.Len(t, history, 1, "%s is taken in once", deployment.Name)
			continue
		}
		for i := 1; i < len(history); i++ {
			assert.NotEqual(t, argumentOf(history[i-1]), argumentOf(history[i]), "no change is taken in twice")
		}
	}
	s.eventually(func() bool {
		return countWords(s.get("fleetdep", `{.items[?(@.status.fleetGeneration>0)].metadata.name}`)) == len(all)
	}, "the engine's word about each is shown")
}

func countWords(text string) int { return len(strings.Fields(text)) }

func TestManifestsAreApplied(t *testing.T) {
	t.Parallel()
	env := kubernetes.Get(t)
	namespace := env.Namespace(t)
	out, _, err := execute(t, nil, "manifests", "--namespace", namespace)
	require.NoError(t, err)
	printed, err := env.Kubectl(t.Context(), []byte(out), "apply", "--server-side", "--force-conflicts", "-f", "-")
	require.NoError(t, err)
	assert.Contains(t, printed, "devices.fleet.nationtech.io")
	assert.Contains(t, printed, "serviceaccount/fleet-operator")
	assert.Contains(t, printed, "rolebinding.rbac.authorization.k8s.io/fleet-operator")
}
