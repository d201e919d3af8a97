package operator

import (
	"context"
	"encoding/hex"
	"strings"
	"unique"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// device is all that the engine keeps about one device. There may be hundreds
// of thousands, so what devices have in common (names, labels, texts) is
// shared, and times are Unix nanoseconds, zero for never.
type device struct {
	id contracts.DeviceID

	// From the registry.
	labels     labelSet
	registered bool
	revoked    bool

	// From the device.
	hasInfo, hasReport, hasHeartbeat bool
	liveness                         liveness
	lagging                          bool // is in engine.lagging
	reportedLabels                   labelSet
	seenAt                           int64
	// announced is the report sequence in the last heartbeat, sequence that of
	// the last report.
	announced, sequence uint64
	// applied generations by the last heartbeat and by the last report.
	heartbeatApplied, reportApplied uint64
	// appliedDigest names the document of reportApplied, zero when not known.
	appliedDigest digest
	refused       unique.Handle[contracts.Refusal] // zero for none
	workloads     []workload                       // sorted by name; replaced, never edited

	// stored is the document as the store has it. It is in doubt after an
	// attempt to write whose outcome is not known.
	stored  record
	inDoubt bool
	// blocked is why no document can be given to the device at all.
	blocked string
	// repairedAt is when its generation was last raised above the device's own.
	repairedAt int64

	// told are the events that the device caused within toldMinute.
	told       uint32
	toldMinute int64

	memberships []membership // sorted by deployment name

	dirty bool // its document may have to change
	busy  bool // a worker is at its document
}

// record is a stored document, without its contents.
type record struct {
	// revision is zero when nothing is stored.
	revision domain.Revision
	// generation is the last one known, even when nothing is stored any more.
	generation uint64
	// content is the hash of the document without its generation; zero when
	// what is stored is not ours or not known.
	content [16]byte
	// digest names the whole document, zero when not known.
	digest digest
	// entries are sorted by name; never edited.
	entries []assignment
}

// digest is a contracts.DocumentDigest.
type digest [8]byte

// parseDigest returns the zero digest for what is none.
func parseDigest(text string) digest {
	var d digest
	if n, err := hex.Decode(d[:], []byte(text)); err != nil || n != len(d) {
		return digest{}
	}
	return d
}

// assignment is one deployment in a document.
type assignment struct {
	name       nameHandle
	generation uint64
}

// generationOf returns the stored generation of one deployment, 0 for none.
func (r *record) generationOf(name nameHandle) uint64 {
	for i := range r.entries {
		if r.entries[i].name == name {
			return r.entries[i].generation
		}
	}
	return 0
}

// workload is one deployment as a device reports it.
type workload struct {
	name       nameHandle
	generation uint64
	health     unique.Handle[health]
	since      int64
	// failing is the generation whose failure was announced by an event, 0 when
	// it is well.
	failing uint64
}

// health is how a workload is.
type health struct {
	phase   contracts.Phase
	reason  contracts.Reason
	message string
}

// membership is a device's part in one deployment.
type membership struct {
	deployment *deployment
	index      int32 // in deployment.members
	// assigned is the generation that the planner gave last, 0 for none.
	assigned uint64
	since    int64
	// failure is why it cannot be given to this device.
	failure string
}

// eligible devices take part in rollouts.
func (d *device) eligible() bool { return d.registered && !d.revoked }

// applied is the highest generation that the device said it acted upon last.
func (d *device) applied() uint64 { return max(d.heartbeatApplied, d.reportApplied) }

// conflicts reports whether the device holds another document of the stored
// generation: it would refuse the stored one for ever.
func (d *device) conflicts() bool {
	return d.applied() == d.stored.generation && d.reportApplied == d.stored.generation &&
		d.appliedDigest != (digest{}) && d.stored.digest != (digest{}) && d.appliedDigest != d.stored.digest
}

// effectiveLabels are the labels that selectors see.
func (d *device) effectiveLabels() contracts.Labels {
	return contracts.EffectiveLabels(d.id, d.labels.labels(), d.reportedLabels.labels())
}

// workload returns what the device reports about one deployment, or nil.
func (d *device) workload(name nameHandle) *workload {
	return findWorkload(d.workloads, name)
}

func findWorkload(workloads []workload, name nameHandle) *workload {
	for i := range workloads {
		if workloads[i].name == name {
			return &workloads[i]
		}
	}
	return nil
}

// membership returns the device's part in one deployment, or nil.
func (d *device) membership(deployment *deployment) *membership {
	for i := range d.memberships {
		if d.memberships[i].deployment == deployment {
			return &d.memberships[i]
		}
	}
	return nil
}

// device returns the state of one device, made if need be.
func (e *engine) device(id contracts.DeviceID) *device {
	if d, ok := e.devices[id]; ok {
		return d
	}
	// The ID may be a piece of a longer text, which must not stay in memory.
	id = contracts.DeviceID(strings.Clone(string(id)))
	d := &device{id: id}
	e.devices[id] = d
	e.status.Unregistered++ // until the registry says otherwise
	return d
}

// drop forgets a device about which nothing is known any more.
func (e *engine) drop(d *device) {
	if d.registered || d.busy || d.hasInfo || d.hasReport || d.hasHeartbeat || d.stored.revision != 0 {
		return
	}
	delete(e.devices, d.id)
	e.status.Unregistered--
}

// registry takes a change of the registry in.
func (e *engine) registry(ctx context.Context, change domain.DeviceChange) {
	switch change.Kind {
	case domain.ChangeCaughtUp:
		e.caughtUp.devices = true
	case domain.ChangePut:
		e.register(e.device(change.Key), change.Value)
	case domain.ChangeDeleted:
		if d, ok := e.devices[change.Key]; ok && d.registered {
			e.deregister(ctx, d)
		}
	}
}

func (e *engine) register(d *device, record domain.FleetDevice) {
	added, revoked := !d.registered, d.revoked
	labels := packLabels(record.Labels)
	relabelled := labels != d.labels
	if added {
		e.status.Devices++
		e.status.Unregistered--
	}
	e.countRevoked(d, record.Revoked)
	d.registered, d.revoked, d.labels = true, record.Revoked, labels
	if e.recovering {
		return
	}
	// That a device was revoked or restored is recorded by whoever did it, who
	// knows why. From here it would be told a second time.
	if added {
		e.emit(contracts.Event{Kind: contracts.EventDeviceRegistered, Device: d.id})
	}
	if added || relabelled || revoked != d.revoked {
		e.reconsider(d)
		e.checkOnline(d)
	}
}

func (e *engine) countRevoked(d *device, revoked bool) {
	if d.revoked && d.registered {
		e.status.Revoked--
	}
	if revoked {
		e.status.Revoked++
	}
}

func (e *engine) deregister(ctx context.Context, d *device) {
	e.countRevoked(d, false)
	d.registered, d.revoked, d.labels = false, false, labelSet{}
	e.status.Devices--
	e.status.Unregistered++
	if e.recovering {
		return
	}
	e.emit(contracts.Event{Kind: contracts.EventDeviceRemoved, Device: d.id})
	e.reconsider(d)
	e.collect(ctx, d)
}

// reconsider finds out anew which deployments a device takes part in.
func (e *engine) reconsider(d *device) {
	if !d.eligible() {
		e.leaveAll(d)
		e.setBlocked(d, "")
		e.setLiveness(d, livenessOffline)
		e.checkLeaving(d)
		return
	}
	labels := d.effectiveLabels()
	for _, deployment := range e.deployments {
		if deployment.removing() {
			continue
		}
		matches := deployment.selector.Matches(labels)
		switch m := d.membership(deployment); {
		case matches && m == nil:
			e.join(d, deployment)
		case !matches && m != nil:
			e.leave(d, deployment)
		}
	}
	e.checkLeaving(d)
	// Templates may hold the changed labels, so the document is checked even
	// when it has the same deployments.
	e.markDirty(d)
}
