package kube

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// LeaseName is the Lease that the operator which writes resources holds.
const LeaseName = "fleet-operator"

// Bridge joins a fleet and a Kubernetes namespace. Several may run for one
// fleet: the holder of the Lease alone writes.
type Bridge struct {
	config       *rest.Config
	capabilities Capabilities
	options      Options

	mu     sync.Mutex
	status Status
}

// New returns a bridge to the API server that config names.
func New(config *rest.Config, c Capabilities, o Options) (*Bridge, error) {
	if o.Namespace == "" {
		return nil, domain.Errorf(domain.ErrInvalid, "no namespace: say in which one the fleet's resources are")
	}
	if problems := validation.IsDNS1123Label(o.Namespace); len(problems) > 0 {
		return nil, domain.Errorf(domain.ErrInvalid, "namespace %q is not the name of one: %s", o.Namespace, strings.Join(problems, "; "))
	}
	return &Bridge{config: config, capabilities: c, options: o.withDefaults(), status: Status{Phase: PhaseConnecting, Since: time.Now()}}, nil
}

// Phase is how far a bridge is.
type Phase string

// The phases.
const (
	// PhaseConnecting: the API server or the resources' definitions cannot be
	// reached, or the namespace or rights are missing. Problem says what.
	PhaseConnecting Phase = "Connecting"
	// PhaseStandby: another one holds the Lease.
	PhaseStandby Phase = "Standby"
	// PhaseRecovering: it holds the Lease and gathers what the fleet is.
	PhaseRecovering Phase = "Recovering"
	// PhaseFollowing: the fleet is shown, and deployments are taken in.
	PhaseFollowing Phase = "Following"
)

// Status is what a bridge is doing, at one moment.
type Status struct {
	Phase Phase
	// Since is when the phase began.
	Since time.Time
	// Problem is why the last attempt ended, for people.
	Problem string
}

// Status returns what the bridge is doing. It does not block.
func (b *Bridge) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

func (b *Bridge) setPhase(phase Phase, problem string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if phase != b.status.Phase {
		b.status.Since = time.Now()
	}
	b.status.Phase, b.status.Problem = phase, problem
}

// Run joins both until ctx is cancelled, waits for all that it started, and
// returns nil. While the API server is away it goes on trying; the fleet does
// not notice. An address for metrics that cannot be listened on is an error.
func (b *Bridge) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if b.options.MetricsAddress != "" {
		listener, err := net.Listen("tcp", b.options.MetricsAddress)
		if err != nil {
			return fmt.Errorf("serve metrics of the Kubernetes part: %w", err)
		}
		group.Go(func() error { return b.serveMetrics(ctx, listener) })
	}
	group.Go(func() error { return b.keepJoining(ctx) })
	return group.Wait()
}

// keepJoining makes a new life of the bridge when one ends.
func (b *Bridge) keepJoining(ctx context.Context) error {
	log := b.options.Logger
	pause := leastPause
	for ctx.Err() == nil {
		started := time.Now()
		err := b.join(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(started) > mostPause {
			pause = leastPause
		}
		b.setPhase(PhaseConnecting, fmt.Sprint(err))
		log.Warn("the bridge to Kubernetes is down and is built again; the fleet goes on without it",
			slog.Any("error", err), slog.Duration("pause", pause))
		if !sleep(ctx, pause) {
			break
		}
		pause = min(2*pause, mostPause)
	}
	return nil
}

// join is one life of the bridge, until it loses the Lease or the API server.
func (b *Bridge) join(ctx context.Context) error {
	var logs gate
	defer logs.close()
	defer context.AfterFunc(ctx, logs.close)()
	m, err := b.manager(logr.FromSlogHandler(quietHandler{Handler: b.options.Logger.Handler(), gate: &logs}))
	if err != nil {
		return advise(err, b.options.Namespace, "say what it serves")
	}
	look := func(ctx context.Context) error {
		return preflight(ctx, m.GetAPIReader(), m.GetClient(), b.options.Namespace)
	}
	if err := look(ctx); err != nil {
		return err
	}
	follower := newFleet(b.capabilities, b.options)
	recorder := newRecorder(m.GetClient(), m.GetAPIReader(), b.capabilities.Events, b.options)
	reflector := &KubeFleetReflector{
		fleet: follower, deployments: m.GetClient(), namespace: b.options.Namespace, log: b.options.Logger, now: time.Now,
		tell: recorder.tell,
	}
	if reflector.devices, err = b.deviceClient(m); err != nil {
		return translate(err, "prepare the connection to Kubernetes")
	}
	intake := &Intake{
		fleet: follower, reflector: reflector, client: m.GetClient(),
		store: b.capabilities.Deployments, statuses: b.capabilities.Statuses,
		namespace: b.options.Namespace, log: b.options.Logger, now: time.Now,
	}
	if intake.creatable, err = creatable(b.config); err != nil {
		return translate(err, "prepare the connection to Kubernetes")
	}
	devices := newLane(b.options, b.options.DeviceInterval, reflector.device)
	deployments := newLane(b.options, b.options.DeploymentInterval, intake.deployment)
	follower.deviceChanged = func(id contracts.DeviceID) { devices.changed(string(id)) }
	follower.deploymentChanged = func(name contracts.DeploymentName) { deployments.changed(string(name)) }
	follower.complete = func() { b.setPhase(PhaseFollowing, "") }

	if err := devices.start(m, "devices", deviceWorkers, &v1alpha1.Device{}); err != nil {
		return err
	}
	if err := deployments.start(m, "deployments", deploymentWorkers, &v1alpha1.Deployment{}); err != nil {
		return err
	}
	if err := m.Add(manager.RunnableFunc(func(ctx context.Context) error {
		b.setPhase(PhaseRecovering, "")
		return follower.run(ctx)
	})); err != nil {
		return err
	}
	if err := m.Add(manager.RunnableFunc(recorder.run)); err != nil {
		return err
	}
	// Standby is told by a runnable that needs no Lease and starts with the caches.
	if err := m.Add(standby{b}); err != nil {
		return err
	}
	if err := m.Add(inspection{look: look, interval: b.options.InspectInterval}); err != nil {
		return err
	}
	return translate(m.Start(ctx), "follow Kubernetes")
}

// Workers of the lanes. Devices wait for their allowance, not for each other.
const (
	deviceWorkers     = 16
	deploymentWorkers = 4
	shutdownTimeout   = 10 * time.Second
)

// standby notes that the API server answers.
type standby struct{ bridge *Bridge }

// Start implements manager.Runnable.
func (s standby) Start(ctx context.Context) error {
	if s.bridge.Status().Phase == PhaseConnecting {
		s.bridge.setPhase(PhaseStandby, "")
	}
	<-ctx.Done()
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (standby) NeedLeaderElection() bool { return false }

func (b *Bridge) manager(log logr.Logger) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	o := &b.options
	config := rest.CopyConfig(b.config)
	share := max(float32(o.QPS)/shareQPS, leastQPS)
	config.QPS, config.Burst = share, int(2*share)
	yes, grace, lease := true, shutdownTimeout, o.LeaseDuration
	renew, retry := lease*2/3, lease/8
	return manager.New(config, manager.Options{
		Scheme: scheme,
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{o.Namespace: {}},
			ByObject: map[client.Object]cache.ByObject{
				// Who wrote what is never asked for devices, and there are many.
				&v1alpha1.Device{}: {Transform: cache.TransformStripManagedFields()},
			},
		},
		Client:                        client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: &yes}},
		Logger:                        log,
		LeaderElection:                true,
		LeaderElectionID:              LeaseName,
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true, // all that leads is waited for
		LeaseDuration:                 &lease,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
		GracefulShutdownTimeout:       &grace,
		Metrics:                       metricsserver.Options{BindAddress: "0"}, // the bridge's own, see serveMetrics
		HealthProbeBindAddress:        "0",
	})
}

// deviceClient has the allowance for devices and reads from the manager's cache.
func (b *Bridge) deviceClient(m manager.Manager) (client.Client, error) {
	config := rest.CopyConfig(b.config)
	config.QPS, config.Burst = float32(b.options.QPS), max(int(b.options.QPS), 1)
	yes := true
	return client.New(config, client.Options{
		Scheme: m.GetScheme(),
		Mapper: m.GetRESTMapper(),
		Cache:  &client.CacheOptions{Reader: m.GetCache(), EnableReadYourWritesConsistency: &yes},
	})
}

// creatable returns a function that asks whether a Deployment can be made: the
// API server takes the verb away while the definition is being deleted.
func creatable(config *rest.Config) (func(context.Context) (bool, error), error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (bool, error) {
		list, err := client.ServerResourcesForGroupVersionWithContext(ctx, v1alpha1.GroupVersion().String())
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool {
			return r.Name == "deployments" && slices.Contains(r.Verbs, "create")
		}), nil
	}, nil
}
