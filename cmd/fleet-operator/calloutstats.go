package main

import (
	"maps"
	"slices"
	"strconv"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/metrics"
)

// gateStats is what /status of `fleet-operator callout` shows.
type gateStats struct {
	Callout    nats.CalloutStats    `json:"callout"`
	Sync       nats.SyncStats       `json:"sync"`
	Enrollment nats.EnrollmentStats `json:"enrollment"`
}

func (g *gatekeeper) status() any {
	return gateStats{Callout: g.callout.Stats(), Sync: g.sync.Stats(), Enrollment: g.enroll.Stats()}
}

// Names of the metrics of `fleet-operator callout`; docs/operations.md lists them.
const (
	metricAdmitted     = "fleet_callout_admitted_total"
	metricDenied       = "fleet_callout_denied_total"
	metricDropped      = "fleet_callout_dropped_total"
	metricDisconnected = "fleet_callout_disconnected_total"
	metricLatency      = "fleet_callout_decision_seconds"
	metricSync         = "fleet_sync_requests_total"
	metricEnrollment   = "fleet_enrollment_requests_total"
)

func (g *gatekeeper) collect(w *metrics.Writer) {
	callout, sync, enroll := g.callout.Stats(), g.sync.Stats(), g.enroll.Stats()
	w.Counter(metricAdmitted, "Clients that were admitted to the broker, by role.")
	for _, role := range slices.Sorted(maps.Keys(callout.Admitted)) {
		w.Value(metricAdmitted, float64(callout.Admitted[role]), "role", string(role))
	}
	w.Counter(metricDenied, "Clients that were kept out, by reason.")
	for _, reason := range slices.Sorted(maps.Keys(callout.Denied)) {
		w.Value(metricDenied, float64(callout.Denied[reason]), "reason", string(reason))
	}
	w.Counter(metricDropped, "Requests of the broker without an answer, by cause.")
	w.Value(metricDropped, float64(callout.Late), "cause", "late")
	w.Value(metricDropped, float64(callout.Malformed), "cause", "malformed")
	w.Value(metricDropped, float64(callout.Unanswered), "cause", "unanswered")
	w.Counter(metricDisconnected, "Connections that were ended: of devices without access, or too many of one device.")
	w.Value(metricDisconnected, float64(callout.Disconnected))
	w.Histogram(metricLatency, "How long a decision about a client took.")
	for i, bound := range callout.Latency.Bounds {
		w.Value(metricLatency+"_bucket", float64(callout.Latency.Counts[i]), "le", strconv.FormatFloat(bound.Seconds(), 'g', -1, 64))
	}
	w.Value(metricLatency+"_bucket", float64(callout.Latency.Count), "le", "+Inf")
	w.Value(metricLatency+"_sum", callout.Latency.Sum.Seconds())
	w.Value(metricLatency+"_count", float64(callout.Latency.Count))
	w.Counter(metricSync, "Requests of devices for their desired state, by outcome.")
	outcomes(w, metricSync, sync.Answered, sync.Refused, sync.Dropped)
	w.Counter(metricEnrollment, "Requests of devices that enroll, by outcome.")
	outcomes(w, metricEnrollment, enroll.Answered, enroll.Refused, enroll.Dropped)
}

func outcomes(w *metrics.Writer, name string, answered, refused, dropped uint64) {
	w.Value(name, float64(answered), "outcome", "answered")
	w.Value(name, float64(refused), "outcome", "refused")
	w.Value(name, float64(dropped), "outcome", "dropped")
}
