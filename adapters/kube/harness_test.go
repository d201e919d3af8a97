package kube_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// patience is how long a test waits for what must come: the machine is loaded.
const patience = time.Minute

// world is a fleet in memory, and a namespace that a bridge joins it with.
type world struct {
	t         *testing.T
	env       *kubetest.Environment
	client    client.WithWatch
	namespace string
	fleet     *memory.Fleet
	// config is the bridge's access: it has the rights of kube.Rules alone.
	config  *rest.Config
	options kube.Options
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldIn(t, kubernetes.Get(t))
}

func newWorldIn(t *testing.T, env *kubetest.Environment) *world {
	t.Helper()
	w := &world{t: t, env: env, client: env.Client(t), namespace: env.Namespace(t), fleet: memory.New()}
	w.config = env.UserConfig(t, "bridge-"+w.namespace)
	meta := metav1.ObjectMeta{Name: "bridge", Namespace: w.namespace}
	require.NoError(t, w.client.Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: kube.Rules()}))
	require.NoError(t, w.client.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "bridge"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "bridge-" + w.namespace}},
	}))
	w.options = kube.Options{
		Namespace: w.namespace, QPS: 1000, DeviceInterval: time.Millisecond, DeploymentInterval: time.Millisecond,
		SettleDelay: time.Millisecond, LeaseDuration: 4 * time.Second, HeartbeatInterval: time.Hour,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	return w
}

func (w *world) capabilities() kube.Capabilities {
	return kube.Capabilities{
		Devices: w.fleet.Devices(), Deployments: w.fleet.Deployments(), Statuses: w.fleet.Statuses(),
		Observed: w.fleet.Observed(), Events: w.fleet.Events(),
	}
}

// start runs a bridge until the test ends or stop is called.
func (w *world) start() (bridge *kube.Bridge, stop func()) {
	w.t.Helper()
	bridge, err := kube.New(w.config, w.capabilities(), w.options)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- bridge.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(w.t, <-ended)
	}
	w.t.Cleanup(stop)
	return bridge, stop
}

// following starts a bridge and waits until it follows the fleet.
func (w *world) following() (stop func()) {
	w.t.Helper()
	bridge, stop := w.start()
	w.eventually(func() bool { return bridge.Status().Phase == kube.PhaseFollowing }, "the bridge follows")
	return stop
}

func (w *world) eventually(condition func() bool, what string) {
	w.t.Helper()
	require.Eventually(w.t, condition, patience, 20*time.Millisecond, what)
}

func (w *world) register(id contracts.DeviceID, labels contracts.Labels) {
	w.t.Helper()
	_, err := w.fleet.Devices().Create(w.t.Context(), domain.FleetDevice{ID: id, Labels: labels, RegisteredAt: time.Now()})
	require.NoError(w.t, err)
}

// report has a device say that it runs deployments in the given phase.
func (w *world) report(id contracts.DeviceID, sequence uint64, phase contracts.Phase, names ...contracts.DeploymentName) {
	w.t.Helper()
	report := contracts.DeviceReport{Sequence: sequence, AppliedGeneration: 1}
	for _, name := range names {
		deployment := contracts.DeploymentReport{Name: name, Generation: 1, Phase: phase, Since: time.Now()}
		if phase == contracts.PhaseFailed {
			deployment.Reason, deployment.Message = contracts.ReasonImagePullFailed, "no such image"
		}
		report.Deployments = append(report.Deployments, deployment)
	}
	require.NoError(w.t, w.fleet.Device(id).Report(w.t.Context(), report))
}

func (w *world) heartbeat(id contracts.DeviceID, sequence uint64) {
	w.t.Helper()
	require.NoError(w.t, w.fleet.Device(id).Heartbeat(w.t.Context(), contracts.Heartbeat{Sequence: sequence, AgentVersion: "1.0.0"}))
}

// device returns a Device, nil when there is none.
func (w *world) device(name string) *v1alpha1.Device {
	w.t.Helper()
	device := &v1alpha1.Device{}
	if !w.get(name, device) {
		return nil
	}
	return device
}

// deployment returns a Deployment, nil when there is none.
func (w *world) deployment(name string) *v1alpha1.Deployment {
	w.t.Helper()
	deployment := &v1alpha1.Deployment{}
	if !w.get(name, deployment) {
		return nil
	}
	return deployment
}

func (w *world) get(name string, into client.Object) bool {
	w.t.Helper()
	err := w.client.Get(context.Background(), client.ObjectKey{Namespace: w.namespace, Name: name}, into)
	if apierrors.IsNotFound(err) {
		return false
	}
	require.NoError(w.t, err)
	return true
}

// is reports whether a condition holds with a reason.
func is(conditions []metav1.Condition, kind string, status metav1.ConditionStatus, reason string) bool {
	c := meta.FindStatusCondition(conditions, kind)
	return c != nil && c.Status == status && (reason == "" || c.Reason == reason)
}

// deploymentSpec is a spec of one process that sleeps.
func deploymentSpec(argument string) contracts.DeploymentSpec {
	return contracts.DeploymentSpec{
		TargetSelector: &contracts.LabelSelector{MatchLabels: map[string]string{"site": "paris"}},
		Score: contracts.ReconcileScore{
			Type: contracts.ScoreProcessV0,
			Data: []byte(`{"services":[{"name":"app","command":["/bin/sleep"],"args":["` + argument + `"]}]}`),
		},
	}
}

// applyByCLI declares a deployment as the fleet command does.
func (w *world) applyByCLI(name contracts.DeploymentName, argument string) domain.FleetDeployment {
	w.t.Helper()
	stored, _, err := domain.ApplyDeployment(w.t.Context(), w.fleet.Deployments(),
		domain.FleetDeployment{Name: name, Origin: contracts.OriginCLI, Spec: deploymentSpec(argument)})
	require.NoError(w.t, err)
	return stored
}

// applyByPeople makes or changes a Deployment as kubectl does.
func (w *world) applyByPeople(name, argument string) *v1alpha1.Deployment {
	w.t.Helper()
	spec, err := kube.SpecFromDomain(deploymentSpec(argument))
	require.NoError(w.t, err)
	deployment := &v1alpha1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}, Spec: spec}
	err = w.client.Create(w.t.Context(), deployment)
	for apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		deployment = w.deployment(name)
		deployment.Spec = spec
		err = w.client.Update(w.t.Context(), deployment)
	}
	require.NoError(w.t, err)
	return deployment
}

// stored returns what the fleet has, nil when it has none.
func (w *world) stored(name contracts.DeploymentName) *domain.FleetDeployment {
	w.t.Helper()
	stored, err := w.fleet.Deployments().Get(context.Background(), name)
	if err != nil {
		require.ErrorIs(w.t, err, domain.ErrNotFound)
		return nil
	}
	return &stored
}

// progress has the fleet say how far a deployment is.
func (w *world) progress(name contracts.DeploymentName, generation uint64, running, matched int) {
	w.t.Helper()
	done := running == matched
	status := contracts.DeploymentStatus{
		ObservedGeneration: generation, Matched: matched, Updated: matched, Running: running, Pending: matched - running,
		UpdatedAt: time.Now(),
	}
	for _, c := range []struct {
		kind  contracts.ConditionType
		holds bool
	}{
		{contracts.ConditionAvailable, done}, {contracts.ConditionProgressing, !done}, {contracts.ConditionStalled, false},
	} {
		condition := contracts.Condition{Type: c.kind, Status: contracts.ConditionFalse, Reason: "Updating", LastTransitionTime: time.Now()}
		if c.holds {
			condition.Status = contracts.ConditionTrue
		}
		if done {
			condition.Reason = "Complete"
		}
		status.Conditions = append(status.Conditions, condition)
	}
	require.NoError(w.t, w.fleet.Statuses().Put(w.t.Context(), name, status))
}

func (w *world) events() []corev1.Event {
	w.t.Helper()
	var events corev1.EventList
	require.NoError(w.t, w.client.List(w.t.Context(), &events, client.InNamespace(w.namespace)))
	return events.Items
}
