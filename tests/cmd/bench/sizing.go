package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	natsgo "github.com/nats-io/nats.go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

const (
	// sizedConnections are held to one broker at once.
	sizedConnections = 5000
	// shownFleet is shown in Kubernetes; a larger one takes the API server too long.
	shownFleet = 10_000
	// quiet is how long a process does next to nothing when it is done.
	quiet = time.Second
)

// sizing measures what an operator and a broker need for fleets of some sizes:
// what the resources in deploy/operator and deploy/nats are made of.
func (b *bench) sizing(ctx context.Context, dir string) error {
	for _, n := range []int{100, 1000, 10_000, 100_000} {
		if n > b.devices {
			continue
		}
		if err := b.sizeOperator(ctx, filepath.Join(dir, fmt.Sprintf("size-%d", n)), n); err != nil {
			return err
		}
	}
	for _, n := range []int{100, 1000, shownFleet} {
		if n > b.devices {
			continue
		}
		if err := b.sizeShown(ctx, filepath.Join(dir, fmt.Sprintf("shown-%d", n)), n); err != nil {
			return err
		}
	}
	return b.sizeBroker(ctx, filepath.Join(dir, "connections"))
}

// sizeOperator measures an operator that starts among n devices with a
// deployment, and hears them.
func (b *bench) sizeOperator(ctx context.Context, dir string, n int) (err error) {
	rig, err := newRig(ctx, b.bin, dir, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rig.close()) }()
	began, err := rig.fill(ctx, n)
	if err != nil {
		return err
	}
	label := fmt.Sprintf("operator, %d devices", n)
	b.figure(label+", most memory, resident memory", "%.1f MiB, %.1f MiB", mib(fleettest.PeakMemory(rig.operator.PID())), mib(rig.operatorMemory()))
	b.figure("  processor time and time to start among them", "%.2f s, %.1f s", rig.operatorCPU().Seconds(), time.Since(began).Seconds())
	used := rig.operatorCPU()
	if err := rig.beat(n); err != nil {
		return err
	}
	if err := awaitQuiet(ctx, rig.operator.PID()); err != nil {
		return err
	}
	// In a burst the broker keeps the latest of a device, so not all need be heard.
	b.figure("  processor time for one heartbeat of each", "%.1f ms", float64((rig.operatorCPU()-used).Microseconds())/1000)
	b.figure("  resident memory after them", "%.1f MiB", mib(rig.operatorMemory()))
	return nil
}

// fill starts an operator among n devices that run what they should.
func (r *rig) fill(ctx context.Context, n int, args ...string) (began time.Time, err error) {
	if err := r.register(ctx, n); err != nil {
		return began, err
	}
	if _, _, err := domain.ApplyDeployment(ctx, r.deployments, benchDeployment()); err != nil {
		return began, err
	}
	began = time.Now()
	if err := r.startOperator(ctx, args...); err != nil {
		return began, err
	}
	if _, err := r.awaitPublished(ctx, n); err != nil {
		return began, err
	}
	if err := r.report(n); err != nil {
		return began, err
	}
	return began, r.awaitOnline(ctx, n)
}

// beat sends one heartbeat of every device.
func (r *rig) beat(n int) error {
	heartbeat, err := contracts.Encode(contracts.Heartbeat{Sequence: 2, AppliedGeneration: 2, ReportSequence: 1, AgentVersion: "v0.0.0-bench"})
	if err != nil {
		return err
	}
	for i := range n {
		if err := r.raw.Publish(contracts.HeartbeatSubject(id(i)), heartbeat); err != nil {
			return err
		}
	}
	return r.raw.FlushTimeout(time.Minute)
}

// awaitQuiet waits until a process uses less than a hundredth of a core.
func awaitQuiet(ctx context.Context, pid int) error {
	before := fleettest.CPUTime(pid)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(quiet):
		}
		now := fleettest.CPUTime(pid)
		if now-before < quiet/100 {
			return nil
		}
		before = now
	}
}

// sizeShown measures an operator whose devices are shown in Kubernetes as well.
func (b *bench) sizeShown(ctx context.Context, dir string, n int) (err error) {
	environment, err := kubetest.Start(kubetest.Options{}) //nolint:contextcheck // it lives until Stop
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, environment.Stop()) }()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	c, err := client.New(environment.Config(), client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	rig, err := newRig(ctx, b.bin, dir, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rig.close()) }()
	if _, err := rig.fill(ctx, n, "--kubernetes="+environment.Kubeconfig, "--namespace="+metav1.NamespaceDefault); err != nil {
		return err
	}
	err = fleettest.Until(ctx, "all devices to be shown", func() (bool, string) {
		var list metav1.PartialObjectMetadataList
		list.SetGroupVersionKind(v1alpha1.GroupVersion().WithKind("DeviceList"))
		err := c.List(ctx, &list)
		return err == nil && len(list.Items) == n, fmt.Sprintf("%d are (%v)", len(list.Items), err)
	})
	if err != nil {
		return err
	}
	if err := awaitQuiet(ctx, rig.operator.PID()); err != nil {
		return err
	}
	b.figure(fmt.Sprintf("operator, %d devices shown in Kubernetes, most memory, resident", n), "%.1f MiB, %.1f MiB",
		mib(fleettest.PeakMemory(rig.operator.PID())), mib(rig.operatorMemory()))
	b.figure("  processor time until then", "%.2f s", rig.operatorCPU().Seconds())
	return nil
}

// sizeBroker measures connections to a broker in a process of its own, without
// TLS and with one subscription each.
func (b *bench) sizeBroker(ctx context.Context, dir string) error {
	fleet, err := fleettest.StartDev(ctx, b.bin, dir, nil, "--devices", "1", "--port", "0", "--no-operator", "--no-agents")
	if err != nil {
		return err
	}
	defer func() { _ = fleet.End() }()
	seed, err := natsgo.NkeyOptionFromSeed(fleet.NKey)
	if err != nil {
		return err
	}
	memory, used := fleettest.Memory(fleet.PID()), fleettest.CPUTime(fleet.PID())
	b.figure("broker without devices, resident memory", "%.1f MiB", mib(memory))
	for range sizedConnections {
		conn, err := natsgo.Connect(fleet.Server, seed)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.SubscribeSync(natsgo.NewInbox()); err != nil {
			return err
		}
		if err := conn.Flush(); err != nil {
			return err
		}
	}
	b.figure(fmt.Sprintf("broker, each of %d connections without TLS", sizedConnections), "%.1f KiB resident, %.0f µs of processor time to connect",
		float64(fleettest.Memory(fleet.PID())-memory)/1024/sizedConnections, float64((fleettest.CPUTime(fleet.PID())-used).Microseconds())/sizedConnections)
	return nil
}

func mib(bytes int64) float64 { return float64(bytes) / mebibyte }
