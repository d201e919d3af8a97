package operator

import (
	"time"
	"unique"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// observe takes in what a device said. Heartbeats are by far the most frequent:
// while nothing changes they touch the device's own record alone.
func (e *engine) observe(o domain.Observation) {
	if o.CaughtUp {
		e.caughtUp.observed = true
		return
	}
	d := e.device(o.Device)
	// A clock that is ahead must not keep a silent device alive.
	d.seenAt = max(d.seenAt, min(unixNano(o.At), e.now.UnixNano()))
	switch {
	case o.Heartbeat != nil:
		d.hasHeartbeat = true
		d.announced, d.heartbeatApplied = o.Heartbeat.ReportSequence, o.Heartbeat.AppliedGeneration
	case o.Report != nil:
		e.observeReport(d, o.Report)
	case o.Info != nil:
		e.observeInfo(d, o.Info)
	}
	if e.recovering || !d.eligible() {
		return
	}
	e.checkOnline(d)
	e.checkAhead(d)
	e.checkLag(d)
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func (e *engine) observeInfo(d *device, info *contracts.DeviceInfo) {
	labels := packLabels(info.Labels)
	changed := labels != d.reportedLabels
	d.hasInfo, d.reportedLabels = true, labels
	if changed && !e.recovering && d.eligible() {
		e.reconsider(d)
	}
}

func (e *engine) observeReport(d *device, report *contracts.DeviceReport) {
	before := d.workloads
	refused := d.refused
	d.hasReport, d.sequence, d.reportApplied = true, report.Sequence, report.AppliedGeneration
	d.appliedDigest = parseDigest(report.AppliedDigest)
	d.workloads = e.packWorkloads(report.Deployments, before, e.now.UnixNano())
	d.refused = packRefusal(report.Refused)
	if e.recovering || !d.eligible() {
		return
	}
	e.compareWorkloads(d, before)
	if d.refused != refused {
		e.refusalChanged(d)
	}
	if d.blocked != "" {
		e.markDirty(d) // what it reports may be what blocks it
	}
}

// packWorkloads copies the part of a report that the engine needs.
func (e *engine) packWorkloads(reports []contracts.DeploymentReport, before []workload, now int64) []workload {
	if len(reports) == 0 {
		return nil
	}
	workloads := make([]workload, len(reports))
	for i := range reports {
		r := &reports[i]
		w := &workloads[i]
		w.name = unique.Make(r.Name)
		w.generation = r.Generation
		w.health = unique.Make(health{phase: r.Phase, reason: r.Reason, message: r.Message})
		w.since = min(unixNano(r.Since), now)
		if old := findWorkload(before, w.name); old != nil {
			w.failing = old.failing
		}
		if e.recovering && bad(r.Phase) {
			w.failing = w.generation // announced by an earlier operator
		}
	}
	return workloads
}

func bad(phase contracts.Phase) bool {
	return phase == contracts.PhaseFailed || phase == contracts.PhaseDegraded
}

// compareWorkloads finds what changed between two reports.
func (e *engine) compareWorkloads(d *device, before []workload) {
	for i := range d.workloads {
		w := &d.workloads[i]
		old := findWorkload(before, w.name)
		if old != nil && old.generation == w.generation && old.health == w.health {
			continue
		}
		e.announceHealth(d, w)
		e.workloadChanged(d, w.name)
	}
	for i := range before {
		if d.workload(before[i].name) == nil {
			e.workloadChanged(d, before[i].name)
		}
	}
	e.checkLeaving(d)
}

func (e *engine) workloadChanged(d *device, name nameHandle) {
	for i := range d.memberships {
		if deployment := d.memberships[i].deployment; deployment.handle == name {
			e.markStatus(deployment)
			return
		}
	}
}

// announceHealth records when a workload begins to fail, once for each
// generation however often it tries again, and when it is well again.
func (e *engine) announceHealth(d *device, w *workload) {
	h := w.health.Value()
	switch {
	case bad(h.phase) && w.failing != w.generation && d.stored.generationOf(w.name) == w.generation && e.mayTell(d):
		w.failing = w.generation
		e.emit(contracts.Event{
			Kind: contracts.EventWorkloadFailed, Device: d.id, Deployment: w.name.Value(), Actor: actorDevice,
			Reason: string(h.reason), Message: h.message,
		})
	case h.phase == contracts.PhaseRunning && w.failing != 0:
		w.failing = 0
		e.emit(contracts.Event{
			Kind: contracts.EventWorkloadRecovered, Device: d.id, Deployment: w.name.Value(), Actor: actorDevice,
		})
	}
}

// tellings is how many events of its own making a device gets into the log
// within a minute: a hostile one must not push out what happened to others.
const tellings = 30

// mayTell reports whether the device may cause another event now.
func (e *engine) mayTell(d *device) bool {
	if minute := e.now.Unix() / 60; d.toldMinute != minute {
		d.toldMinute, d.told = minute, 0
	}
	d.told++
	return d.told <= tellings
}

func packRefusal(refusal *contracts.Refusal) unique.Handle[contracts.Refusal] {
	if refusal == nil {
		return unique.Handle[contracts.Refusal]{}
	}
	return unique.Make(*refusal)
}

// refusal is the desired state that the device did not accept, if there is one.
func (d *device) refusal() (contracts.Refusal, bool) {
	if d.refused == (unique.Handle[contracts.Refusal]{}) {
		return contracts.Refusal{}, false
	}
	return d.refused.Value(), true
}

func (e *engine) refusalChanged(d *device) {
	for i := range d.memberships {
		e.markStatus(d.memberships[i].deployment)
	}
	refusal, ok := d.refusal()
	if !ok || !e.mayTell(d) {
		return
	}
	e.emit(contracts.Event{
		Kind: contracts.EventDesiredStateRefused, Device: d.id, Actor: actorDevice,
		Reason: string(refusal.Reason), Message: refusal.Message,
	})
}

// forgetObserved drops what a device said.
func (e *engine) forgetObserved(d *device) {
	e.setLiveness(d, livenessOffline)
	delete(e.lagging, d)
	*d = device{
		id: d.id, labels: d.labels, registered: d.registered, revoked: d.revoked,
		stored: d.stored, inDoubt: d.inDoubt, blocked: d.blocked, repairedAt: d.repairedAt,
		memberships: d.memberships, dirty: d.dirty, busy: d.busy,
	}
}
