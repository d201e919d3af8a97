package kube

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// recorder turns the fleet's events into Events of the resources that they are
// about. What happens again is counted on the Event that is there. The audit is
// the fleet's own log; these are for whoever looks at a resource, and what does
// not fit the allowance is left out.
type recorder struct {
	client    client.Client
	reader    client.Reader
	events    domain.EventLog
	namespace string
	log       *slog.Logger
	limiter   flowcontrol.RateLimiter

	queue  chan contracts.Event
	series map[seriesKey]*series
}

// seriesKey names what is the same thing happening again.
type seriesKey struct {
	kind, name string
	event      contracts.EventKind
	reason     string
}

// series is one Event and how often what it tells of happened.
type series struct {
	event *corev1.Event
	// count is how often; written is how often by the Event.
	count, written int32
	writtenAt      time.Time
}

const (
	seriesLife    = 10 * time.Minute // after which it is another series
	seriesPause   = 30 * time.Second // between two writes of one Event
	recorderTick  = 5 * time.Second
	recorderQueue = 1024
	recorderQPS   = 2
	recorderBurst = 20
	maxEventText  = 1000 // Kubernetes allows 1024 bytes
)

func newRecorder(c client.Client, reader client.Reader, events domain.EventLog, o Options) *recorder {
	return &recorder{
		client: c, reader: reader, events: events, namespace: o.Namespace, log: o.Logger,
		limiter: flowcontrol.NewTokenBucketRateLimiter(recorderQPS, recorderBurst),
		queue:   make(chan contracts.Event, recorderQueue),
		series:  map[seriesKey]*series{},
	}
}

// run follows the fleet's events from where the last recorder stopped, until
// ctx is cancelled.
func (r *recorder) run(ctx context.Context) error {
	since, err := r.resume(ctx)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.record(ctx)
	}()
	defer func() { <-done }()
	lost := 0
	for ctx.Err() == nil {
		err := r.events.Read(ctx, domain.EventQuery{Since: since, Follow: true}, func(event contracts.Event) error {
			since = event.Time.Add(1)
			if !r.tell(event) {
				lost++
			}
			return nil
		})
		if ctx.Err() != nil {
			break
		}
		r.log.Warn("following the fleet's events broke and is begun again", slog.Any("error", err), slog.Int("lost", lost))
		sleep(ctx, recorderTick)
	}
	return nil
}

// tell has an event recorded soon, unless too many wait. It does not block.
func (r *recorder) tell(event contracts.Event) bool {
	select {
	case r.queue <- event:
		return true
	default:
		return false
	}
}

// resume returns from when on events are not recorded yet.
func (r *recorder) resume(ctx context.Context) (time.Time, error) {
	var events corev1.EventList
	err := r.reader.List(ctx, &events, client.InNamespace(r.namespace), client.MatchingFields{"reportingComponent": FieldManager})
	if err != nil {
		return time.Time{}, translate(err, "read the Events of %s", r.namespace)
	}
	since := time.Now().Add(-time.Minute)
	for i := range events.Items {
		if events.Items[i].Reason == string(eventEditPutBack) {
			continue // not of the fleet, and later than what it may still tell
		}
		if last := events.Items[i].LastTimestamp.Add(time.Second); last.After(since) {
			since = last
		}
	}
	return since, nil
}

func (r *recorder) record(ctx context.Context) {
	ticker := time.NewTicker(recorderTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-r.queue:
			if event.Deployment != "" {
				r.note(ctx, kindDeployment, string(event.Deployment), event)
			}
			if event.Device != "" && aboutDevice(event.Kind) {
				r.note(ctx, kindDevice, string(event.Device), event)
			}
		case <-ticker.C:
			r.flush(ctx)
		}
	}
}

// aboutDevice leaves out what the resource says anyway (whether it is online,
// what runs), and what people do to a device all day long. What is left is rare.
func aboutDevice(kind contracts.EventKind) bool {
	switch kind {
	case contracts.EventDeviceOnline, contracts.EventDeviceOffline, contracts.EventCommandExecuted,
		contracts.EventWorkloadFailed, contracts.EventWorkloadRecovered:
		return false
	default:
		return true
	}
}

// note writes a new Event, or counts on one that is there.
func (r *recorder) note(ctx context.Context, kind, name string, event contracts.Event) {
	key := seriesKey{kind: kind, name: name, event: event.Kind, reason: event.Reason}
	if s, ok := r.series[key]; ok && event.Time.Sub(s.event.FirstTimestamp.Time) < seriesLife {
		s.count++
		s.event.LastTimestamp = metav1.Time{Time: event.Time}
		s.event.Message = eventText(event, kind)
		return
	}
	if !r.limiter.TryAccept() {
		return
	}
	s := &series{event: r.newEvent(ctx, kind, name, event), count: 1, written: 1, writtenAt: time.Now()}
	err := r.client.Create(ctx, s.event, client.FieldOwner(FieldManager))
	if apierrors.IsAlreadyExists(err) {
		return // told by an earlier operator
	}
	if err != nil {
		r.failed(ctx, name, err)
		return
	}
	r.series[key] = s
}

// flush writes the counts that rose, and forgets what is over.
func (r *recorder) flush(ctx context.Context) {
	for key, s := range r.series {
		switch {
		case s.count > s.written && time.Since(s.writtenAt) >= seriesPause:
			if !r.limiter.TryAccept() {
				return
			}
			s.event.Count = s.count
			err := r.client.Update(ctx, s.event, client.FieldOwner(FieldManager))
			if err != nil {
				r.failed(ctx, key.name, err)
				delete(r.series, key)
				continue
			}
			s.written, s.writtenAt = s.count, time.Now()
		case s.count == s.written && time.Since(s.event.FirstTimestamp.Time) > seriesLife:
			delete(r.series, key)
		}
	}
}

func (r *recorder) failed(ctx context.Context, name string, err error) {
	if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		r.log.Debug("an Event could not be written", slog.String("name", name), slog.Any("error", err))
	}
}

func (r *recorder) newEvent(ctx context.Context, kind, name string, event contracts.Event) *corev1.Event {
	sum := sha256.Sum256([]byte(kind + "/" + name + "/" + string(event.Kind) + "/" + event.Reason + "/" + event.Time.UTC().Format(time.RFC3339Nano)))
	at := metav1.Time{Time: event.Time}
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: fmt.Sprintf("%s.%x", name, sum[:8])},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: v1alpha1.GroupVersion().String(), Kind: kind, Namespace: r.namespace, Name: name, UID: r.uid(ctx, kind, name),
		},
		Type:                eventType(event.Kind),
		Reason:              string(event.Kind),
		Message:             eventText(event, kind),
		FirstTimestamp:      at,
		LastTimestamp:       at,
		Count:               1,
		Source:              corev1.EventSource{Component: FieldManager},
		ReportingController: FieldManager,
	}
}

// uid returns that of a resource, by which kubectl describe finds its Events;
// empty when it is gone or not there yet.
func (r *recorder) uid(ctx context.Context, kind, name string) types.UID {
	var resource client.Object = &v1alpha1.Deployment{}
	if kind == kindDevice {
		resource = &v1alpha1.Device{}
	}
	if err := r.client.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: name}, resource); err != nil {
		return ""
	}
	return resource.GetUID()
}

func eventType(kind contracts.EventKind) string {
	switch kind {
	case contracts.EventWorkloadFailed, contracts.EventDesiredStateRefused, contracts.EventDesiredStateLost,
		contracts.EventEnrollmentRefused, contracts.EventAccessDenied, eventEditPutBack:
		return corev1.EventTypeWarning
	default:
		return corev1.EventTypeNormal
	}
}

// eventText says what happened on which other thing, why, and by whom.
func eventText(event contracts.Event, kind string) string {
	var parts []string
	switch {
	case kind == kindDeployment && event.Device != "":
		parts = append(parts, "on device "+string(event.Device))
	case kind == kindDevice && event.Deployment != "":
		parts = append(parts, "deployment "+string(event.Deployment))
	}
	for _, part := range []string{event.Reason, event.Message} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		parts = append(parts, string(event.Kind))
	}
	return contracts.Clip(strings.Join(parts, ": "), maxEventText)
}
