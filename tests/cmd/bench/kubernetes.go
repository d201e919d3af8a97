package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// The flood: this many devices come online at once. The bound is the time that
// the API server's own rate of writes allows, measured just before, times this.
const (
	floodDevices   = 10_000
	floodBound     = 1.3
	floodWriters   = 16
	baselineCount  = 1000
	baselineRounds = 3
	shownPoll      = 100 * time.Millisecond
)

// flood is a fleet in memory that a real API server shows.
type flood struct {
	client    client.WithWatch
	fleet     *memory.Fleet
	bridge    *kube.Bridge
	namespace string
}

// kubernetes measures how long a whole fleet that comes online takes to be
// shown, and how long a rollout's status takes meanwhile.
func (b *bench) kubernetes(ctx context.Context, _ string) (err error) {
	env, err := kubetest.Start(kubetest.Options{}) //nolint:contextcheck // it lives until Stop
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Stop()) }()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	c, err := client.NewWithWatch(env.Config(), client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	s := &flood{client: c, fleet: memory.New(), namespace: metav1.NamespaceDefault}
	s.bridge, err = kube.New(env.Config(), kube.Capabilities{
		Devices: s.fleet.Devices(), Deployments: s.fleet.Deployments(), Statuses: s.fleet.Statuses(),
		Observed: s.fleet.Observed(), Events: s.fleet.Events(),
	}, kube.Options{Namespace: s.namespace, QPS: 10_000, HeartbeatInterval: time.Hour})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.bridge.Run(running) }()
	defer func() { stop(); err = errors.Join(err, <-ended) }()
	return b.measureFlood(ctx, s)
}

func (b *bench) measureFlood(ctx context.Context, s *flood) error {
	for i := range floodDevices {
		_, err := s.fleet.Devices().Create(ctx, domain.FleetDevice{ID: floodID(i), Labels: contracts.Labels{"site": "paris"}, RegisteredAt: time.Now()})
		if err != nil {
			return err
		}
	}
	started := time.Now()
	if err := s.await(ctx, func(d *v1alpha1.Device) bool { return len(d.Status.Conditions) > 0 }); err != nil {
		return err
	}
	b.figure("Kubernetes: devices shown for the first time", "%d in %.1f s", floodDevices, time.Since(started).Seconds())

	rate, err := s.baseline(ctx)
	if err != nil {
		return err
	}
	b.figure("Kubernetes: status writes that the API server takes", "%.0f/s", rate)

	rollout, done := context.WithCancel(ctx)
	delays := make(chan []time.Duration, 1)
	go func() { delays <- s.rollout(rollout) }()
	started = time.Now()
	for i := range floodDevices {
		if err := s.comeOnline(ctx, floodID(i)); err != nil {
			done()
			return errors.Join(err, fmt.Errorf("%d rollout steps", len(<-delays)))
		}
	}
	err = s.await(ctx, func(d *v1alpha1.Device) bool { return d.Status.Workloads == "1/1" })
	took := time.Since(started)
	done()
	waited := <-delays
	if err != nil {
		return err
	}
	ideal := floodDevices / rate
	b.figure("Kubernetes: devices that come online at once", "%d shown in %.1f s", floodDevices, took.Seconds())
	b.most("Kubernetes: that, to what the rate of writes allows", "times", took.Seconds()/ideal, floodBound)
	if len(waited) > 0 {
		slices.Sort(waited)
		b.figure("Kubernetes: a rollout's status meanwhile, median and most", "%.2f s, %.2f s of %d",
			waited[len(waited)/2].Seconds(), waited[len(waited)-1].Seconds(), len(waited))
	}
	return nil
}

func floodID(i int) contracts.DeviceID { return contracts.DeviceID(fmt.Sprintf("pi-%05d", i)) }

// comeOnline has a device say all that a device says when it connects.
func (s *flood) comeOnline(ctx context.Context, id contracts.DeviceID) error {
	device := s.fleet.Device(id)
	return errors.Join(
		device.Info(ctx, contracts.DeviceInfo{AgentVersion: "1.0.0", Inventory: contracts.Inventory{Architecture: "arm64", Model: "Raspberry Pi 5", CPUs: 4}}),
		device.Report(ctx, contracts.DeviceReport{Sequence: 1, AppliedGeneration: 1, Deployments: []contracts.DeploymentReport{
			{Name: "web", Generation: 1, Phase: contracts.PhaseRunning, Since: time.Now()},
		}}),
		device.Heartbeat(ctx, contracts.Heartbeat{Sequence: 1, AppliedGeneration: 1, ReportSequence: 1, AgentVersion: "1.0.0"}),
	)
}

// await waits until every device is shown as wanted. It watches, as the cost of
// listing them again and again would be measured too.
func (s *flood) await(ctx context.Context, shown func(*v1alpha1.Device) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	good := map[string]struct{}{}
	for ctx.Err() == nil {
		var list v1alpha1.DeviceList
		if err := s.client.List(ctx, &list, client.InNamespace(s.namespace)); err != nil {
			return err
		}
		for i := range list.Items {
			if shown(&list.Items[i]) {
				good[list.Items[i].Name] = struct{}{}
			}
		}
		if err := s.watch(ctx, list.ResourceVersion, shown, good); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%d of %d devices are shown: %w", len(good), floodDevices, ctx.Err())
}

// watch returns nil when all devices are good, or an error when it broke.
func (s *flood) watch(ctx context.Context, since string, shown func(*v1alpha1.Device) bool, good map[string]struct{}) error {
	if len(good) >= floodDevices {
		return nil
	}
	watch, err := s.client.Watch(ctx, &v1alpha1.DeviceList{}, client.InNamespace(s.namespace), &client.ListOptions{
		Raw: &metav1.ListOptions{ResourceVersion: since},
	})
	if err != nil {
		return err
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		if device, ok := event.Object.(*v1alpha1.Device); ok && shown(device) {
			good[device.Name] = struct{}{}
		}
		if len(good) >= floodDevices {
			return nil
		}
	}
	return errors.New("the watch ended")
}

// baseline returns how many status writes per second the API server takes from
// as many writers as the reflector has, with as much in each, on devices that
// the reflector does not see.
func (s *flood) baseline(ctx context.Context) (float64, error) {
	const namespace = "kube-public"
	id := func(i int) string { return fmt.Sprintf("base-%04d", i) }
	err := each(baselineCount, func(i int) error {
		return s.client.Create(ctx, &v1alpha1.Device{ObjectMeta: metav1.ObjectMeta{Name: id(i), Namespace: namespace}})
	})
	if err != nil {
		return 0, err
	}
	var example v1alpha1.Device
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: string(floodID(0))}, &example); err != nil {
		return 0, err
	}
	status := example.Status
	status.Inventory = &v1alpha1.Inventory{Architecture: "arm64", Model: "Raspberry Pi 5", CPUs: 4}
	status.Deployments = []v1alpha1.DeviceDeployment{{Name: "web", Generation: 1, Phase: "Running"}}
	started := time.Now()
	err = each(baselineCount*baselineRounds, func(i int) error {
		status := status
		status.AgentVersion = fmt.Sprintf("1.0.%d", i)
		device := &v1alpha1.Device{ObjectMeta: metav1.ObjectMeta{Name: id(i % baselineCount), Namespace: namespace}}
		patch, err := json.Marshal(map[string]any{
			"apiVersion": contracts.APIVersion, "kind": "Device", "metadata": map[string]string{"name": device.Name}, "status": status,
		})
		if err != nil {
			return err
		}
		return s.client.Status().Patch(ctx, device, client.RawPatch(types.ApplyPatchType, patch), client.FieldOwner("bench"), client.ForceOwnership)
	})
	return baselineCount * baselineRounds / time.Since(started).Seconds(), err
}

// each calls do for 0 to n-1 from as many goroutines as the reflector has.
func each(n int, do func(int) error) error {
	next := make(chan int)
	failures := make(chan error, floodWriters)
	var workers sync.WaitGroup
	for range floodWriters {
		workers.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	var err error
	for i := range n {
		select {
		case next <- i:
			continue
		case err = <-failures:
		}
		break
	}
	close(next)
	workers.Wait()
	return err
}

// rollout changes the status of a deployment again and again, and returns how
// long each change took to be shown.
func (s *flood) rollout(ctx context.Context) (delays []time.Duration) {
	_, _, err := domain.ApplyDeployment(ctx, s.fleet.Deployments(), domain.FleetDeployment{Name: "web", Spec: contracts.DeploymentSpec{
		TargetSelector: &contracts.LabelSelector{},
		Score:          contracts.ReconcileScore{Type: contracts.ScoreProcessV0, Data: []byte(`{"services":[{"name":"app","command":"sleep"}]}`)},
	}})
	for step := 1; err == nil && ctx.Err() == nil; step++ {
		started := time.Now()
		err = s.fleet.Statuses().Put(ctx, "web", contracts.DeploymentStatus{ObservedGeneration: 1, Matched: floodDevices, Running: step, Pending: floodDevices - step})
		for err == nil && ctx.Err() == nil {
			var shown v1alpha1.Deployment
			if s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "web"}, &shown) == nil && int(shown.Status.Running) == step {
				delays = append(delays, time.Since(started))
				break
			}
			pause(ctx, shownPoll)
		}
		pause(ctx, time.Second-time.Since(started))
	}
	return delays
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
