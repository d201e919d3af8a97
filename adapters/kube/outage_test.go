package kube_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
)

// wire is a network between a bridge and the API server that can be cut.
type wire struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
}

// newWire returns a wire and the access through it.
func newWire(t *testing.T, config *rest.Config) (*wire, *rest.Config) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{listener: listener, target: hostOf(t, config.Host), conns: map[net.Conn]struct{}{}}
	t.Cleanup(func() { w.set(true); listener.Close() })
	go w.accept()
	through := rest.CopyConfig(config)
	through.Host = "https://" + listener.Addr().String()
	return w, through
}

func hostOf(t *testing.T, host string) string {
	t.Helper()
	parsed, err := url.Parse(host)
	require.NoError(t, err)
	if parsed.Host == "" {
		return host
	}
	return parsed.Host
}

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.target)
		if err != nil || !w.keep(near, far) {
			near.Close()
			continue
		}
		go pipe(near, far)
		go pipe(far, near)
	}
}

func pipe(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	from.Close()
	to.Close()
}

func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		if w.cut {
			c.Close()
			continue
		}
		w.conns[c] = struct{}{}
	}
	return !w.cut
}

// set cuts the wire or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for c := range w.conns {
			c.Close()
		}
		w.conns = map[net.Conn]struct{}{}
	}
}

func TestTheAPIServerIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cable, through := newWire(t, w.config)
	w.config = through
	w.register("pi-1", contracts.Labels{"site": "paris"})
	w.applyByCLI("old", "1")
	bridge, _ := w.start()
	w.applyByPeople("web", "60")
	w.eventually(func() bool { return w.device("pi-1") != nil && w.deployment("old") != nil && w.stored("web") != nil }, "both agree")

	cable.set(true)
	w.eventually(func() bool { return bridge.Status().Phase == kube.PhaseConnecting }, "it is noticed")
	// Both sides go on without each other.
	w.register("pi-2", nil)
	w.report("pi-1", 1, contracts.PhaseRunning, "web")
	w.applyByCLI("new", "1")
	require.NoError(t, w.fleet.Deployments().Delete(t.Context(), "old", w.stored("old").Revision))
	w.applyByPeople("web", "61")
	w.applyByPeople("app", "60")
	require.NoError(t, w.client.Delete(t.Context(), w.device("pi-1")))

	cable.set(false)
	w.eventually(func() bool {
		d := w.device("pi-1")
		return d != nil && d.Status.Workloads == "1/1" && w.device("pi-2") != nil && w.deployment("old") == nil && w.deployment("new") != nil
	}, "Kubernetes agrees with the fleet")
	w.eventually(func() bool { s := w.stored("app"); return s != nil && w.stored("web").Generation == 2 }, "the fleet agrees with Kubernetes")
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

// scrape returns a bridge's metrics.
func scrape(t *testing.T, address string) string {
	t.Helper()
	response, err := http.Get("http://" + address + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(text)
}

// apart is an API server for tests that take the definitions away.
var apart = kubetest.NewShared(kubetest.Options{})

// Deleting the definitions deletes all resources. That is no withdrawal.
func TestTheDefinitionsAreGoneForAWhile(t *testing.T) {
	t.Parallel()
	w := newWorldIn(t, apart.Get(t))
	t.Cleanup(func() { // nobody is there any more to let go of it, were the test repeated
		web := w.deployment("web")
		web.Finalizers = nil
		require.NoError(t, w.client.Update(context.Background(), web))
	})
	w.register("pi-1", nil)
	w.applyByCLI("tool", "1")
	w.options.InspectInterval, w.options.MetricsAddress = 100*time.Millisecond, freeAddress(t)
	bridge, _ := w.start()
	w.eventually(func() bool { return bridge.Status().Phase == kube.PhaseFollowing }, "the bridge follows")
	w.applyByPeople("web", "60")
	w.eventually(func() bool { return w.device("pi-1") != nil && w.deployment("tool") != nil && w.stored("web") != nil }, "both agree")
	require.Contains(t, scrape(t, w.options.MetricsAddress), `fleet_operator_kubernetes_phase{phase="Following"} 1`)

	crds, err := kube.CRDs()
	require.NoError(t, err)
	for _, crd := range crds {
		require.NoError(t, w.client.Delete(t.Context(), crd))
	}
	w.eventually(func() bool {
		for _, crd := range crds {
			if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(crd), &apiextensionsv1.CustomResourceDefinition{}); !apierrors.IsNotFound(err) {
				return false
			}
		}
		return true
	}, "the definitions go, no finalizer holds them")
	w.eventually(func() bool { s := bridge.Status(); return s.Phase == kube.PhaseConnecting && s.Problem != "" }, "the bridge notices")
	assert.Contains(t, bridge.Status().Problem, "the definitions of Device and Deployment are not installed: run `fleet-operator manifests")
	metrics := scrape(t, w.options.MetricsAddress)
	assert.Contains(t, metrics, `fleet_operator_kubernetes_phase{phase="Connecting"} 1`)
	assert.Contains(t, metrics, `fleet_operator_kubernetes_phase{phase="Following"} 0`)
	assert.Contains(t, metrics, "rest_client_requests_total")
	require.NotNil(t, w.stored("web"), "the fleet goes on")
	require.NotNil(t, w.stored("tool"))

	crds, err = kube.CRDs()
	require.NoError(t, err)
	for _, crd := range crds {
		require.NoError(t, w.client.Create(t.Context(), crd))
	}
	resources := func() (found int) {
		for _, list := range []client.ObjectList{&v1alpha1.DeviceList{}, &v1alpha1.DeploymentList{}} {
			if w.client.List(t.Context(), list, client.InNamespace(w.namespace)) != nil {
				return 0
			}
			switch list := list.(type) {
			case *v1alpha1.DeviceList:
				found += len(list.Items)
			case *v1alpha1.DeploymentList:
				found += len(list.Items)
			}
		}
		return found
	}
	w.eventually(func() bool { return resources() == 3 }, "all is shown again")
	w.eventually(func() bool { s := bridge.Status(); return s.Phase == kube.PhaseFollowing && s.Problem == "" }, "and the bridge says so")
	assert.Equal(t, contracts.OriginKubernetes, w.stored("web").Origin)
	assert.Equal(t, uint64(1), w.stored("web").Generation, "no device notices")
}

// writes returns how many requests the API server was asked that write devices
// or deployments, by its own count.
func writes(t *testing.T, env *kubetest.Environment) int {
	t.Helper()
	transport, err := rest.TransportFor(env.Config())
	require.NoError(t, err)
	response, err := (&http.Client{Transport: transport}).Get("https://" + hostOf(t, env.Config().Host) + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	line := regexp.MustCompile(`^apiserver_request_total\{.*group="fleet\.nationtech\.io".*verb="(APPLY|PATCH|POST|PUT|DELETE|DELETECOLLECTION)".*\} ([0-9.e+]+)$`)
	total := 0.0
	scanner := bufio.NewScanner(response.Body)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if m := line.FindStringSubmatch(scanner.Text()); m != nil {
			count, err := strconv.ParseFloat(m[2], 64)
			require.NoError(t, err)
			total += count
		}
	}
	require.NoError(t, scanner.Err())
	return int(total)
}

// counted is an API server whose writes are counted.
var counted = kubetest.NewShared(kubetest.Options{})

// An unchanged fleet writes nothing, however much it says; nor does an operator
// that takes over.
func TestSteadyStateWritesNothing(t *testing.T) {
	t.Parallel()
	env := counted.Get(t)
	w := newWorldIn(t, env)
	const devices = 50
	id := func(i int) contracts.DeviceID { return contracts.DeviceID(fmt.Sprintf("pi-%d", i)) }
	for i := range devices {
		w.register(id(i), contracts.Labels{"site": "paris"})
		w.heartbeat(id(i), 1)
		w.report(id(i), 1, contracts.PhaseRunning, "web")
	}
	w.applyByCLI("web", "60")
	w.progress("web", 1, devices, devices)
	stop := w.following()
	shown := func() bool {
		var list v1alpha1.DeviceList
		require.NoError(t, w.client.List(t.Context(), &list, client.InNamespace(w.namespace)))
		for i := range list.Items {
			if !is(list.Items[i].Status.Conditions, v1alpha1.DeviceReady, metav1.ConditionTrue, "") {
				return false
			}
		}
		d := w.deployment("web")
		return len(list.Items) == devices && d != nil && d.Status.Ready == fmt.Sprintf("%d/%d", devices, devices)
	}
	w.eventually(shown, "all is shown")
	before := writes(t, env)
	require.GreaterOrEqual(t, before, 2*devices, "what the API server counts is what is meant")

	for round := range 20 {
		for i := range devices {
			w.heartbeat(id(i), uint64(round+2))
			w.report(id(i), uint64(round+2), contracts.PhaseRunning, "web")
		}
		w.progress("web", 1, devices, devices)
	}
	stop()
	// A new leader looks at everything. When it has shown a new device, it has
	// been through all that was there before.
	w.following()
	w.register("last", nil)
	w.eventually(func() bool { d := w.device("last"); return d != nil && len(d.Status.Conditions) > 0 }, "the new device is shown")
	time.Sleep(200 * time.Millisecond) //nolint:forbidigo // what must not happen gives no sign
	assert.Equal(t, 2, writes(t, env)-before, "the new device and its status, nothing else")
}
