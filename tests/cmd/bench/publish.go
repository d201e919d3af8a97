package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// publishing measures how fast a change reaches the store for a whole fleet, on
// a broker that syncs every write to the disk and on one that does not, and how
// fast an operator starts among all of it.
func (b *bench) publishing(ctx context.Context, dir string) error {
	for _, sync := range []bool{false, true} {
		if err := b.publishOn(ctx, filepath.Join(dir, fmt.Sprintf("sync-%t", sync)), sync); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) publishOn(ctx context.Context, dir string, sync bool) (err error) {
	rig, err := newRig(ctx, b.bin, dir, sync)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rig.close()) }()
	if err := rig.register(ctx, b.devices); err != nil {
		return err
	}
	if err := rig.startOperator(ctx); err != nil {
		return err
	}
	if _, err := rig.awaitPublished(ctx, b.devices); err != nil {
		return err
	}

	used, here := rig.operatorCPU(), ownCPU()
	began := time.Now()
	if _, _, err := domain.ApplyDeployment(ctx, rig.deployments, benchDeployment()); err != nil {
		return err
	}
	bytes, err := rig.awaitPublished(ctx, 2*b.devices)
	if err != nil {
		return err
	}
	ours := time.Since(began)
	used, here = rig.operatorCPU()-used, ownCPU()-here
	envelopes, err := rig.envelopes(ctx)
	if err != nil {
		return err
	}
	// The operator must not see it.
	if err := rig.stopOperator(); err != nil {
		return err
	}
	rawHere := ownCPU()
	raw, err := rig.publishRaw(ctx, envelopes)
	if err != nil {
		return err
	}
	rawHere = ownCPU() - rawHere
	label := "written to memory first"
	if sync {
		label = "synced to the disk"
	}
	perSecond := func(took time.Duration) float64 { return float64(b.devices) / took.Seconds() }
	b.figure(fmt.Sprintf("desired state, %d devices, %s", b.devices, label), "%.0f/s composed, signed and stored in %.2f s, %d bytes each", perSecond(ours), ours.Seconds(), bytes/b.devices)
	b.figure("  the same bytes by raw pipelined publishes", "%.0f/s in %.2f s", perSecond(raw), raw.Seconds())
	// Unlike the ratio of the rates, this hardly depends on what else the machine does.
	each := func(took time.Duration) float64 { return float64(took.Microseconds()) / float64(b.devices) }
	b.figure("  processor time for one", "%.0f µs in the operator and %.0f µs in the broker; raw %.0f µs in broker and client",
		each(used), each(here), each(rawHere))
	if !sync {
		// Fleets run on the other kind of broker; see docs/adr/008-durability.md.
		b.figure("  ratio", "%.2f of raw", perSecond(ours)/perSecond(raw))
		return nil
	}
	b.least("  ratio", "of raw", perSecond(ours)/perSecond(raw), 0.5)
	return b.coldStart(ctx, rig)
}

// benchDeployment is of the size that a small real one has, with a template.
func benchDeployment() domain.FleetDeployment {
	data := `{"services":[{"name":"web","image":"registry.example/shop/web@sha256:` +
		`0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","ports":["8080:80"],` +
		`"env":{"DEVICE":"{{ .device.id }}","SITE":"{{ .device.labels.site }}","LOG_LEVEL":"info"},` +
		`"volumes":["data:/var/lib/web"],"resources":{"cpu":"0.5","memory":"256Mi"}}]}`
	return domain.FleetDeployment{
		Name: "web",
		Spec: contracts.DeploymentSpec{
			TargetSelector: &contracts.LabelSelector{},
			Score:          contracts.ReconcileScore{Type: contracts.ScorePodmanV0, Data: []byte(data)},
		},
	}
}

// coldStart measures an operator that starts among the reports of all devices.
func (b *bench) coldStart(ctx context.Context, rig *rig) error {
	if err := rig.stopOperator(); err != nil {
		return err
	}
	if err := rig.report(b.devices); err != nil {
		return err
	}
	began := time.Now()
	if err := rig.startOperator(ctx); err != nil {
		return err
	}
	if err := rig.awaitOnline(ctx, b.devices); err != nil {
		return err
	}
	took := time.Since(began)
	b.figure(fmt.Sprintf("operator, cold start with %d devices and their reports", b.devices), "%.2f s until it has all of them and is converged", took.Seconds())
	b.figure("operator, resident memory per device after that", "%d bytes", rig.operatorMemory()/int64(b.devices))
	return nil
}
