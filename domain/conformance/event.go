package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// EventLogFixture is an empty audit.
type EventLogFixture struct {
	Log domain.EventLog
	// Second is another client of the same backend.
	Second domain.EventLog
	// Restart stops the backend and starts it again with its durable data. Calls
	// may give ErrUnavailable for a while after it returned.
	Restart func(t *testing.T)
	// Stored returns the last event stored, past the log.
	Stored func(t *testing.T) []byte
}

// EventLog checks an implementation of domain.EventLog.
func EventLog(t *testing.T, open func(t *testing.T) EventLogFixture) {
	t.Helper()
	restart := named("Restart", func(_ *testing.T, f EventLogFixture) bool { return f.Restart != nil })
	stored := named("Stored", func(_ *testing.T, f EventLogFixture) bool { return f.Stored != nil })
	checkAll(t, open, []obligation[EventLogFixture]{
		{name: "append, then read in order", check: eventsInOrder},
		{name: "read of nothing", check: eventsNone},
		{name: "event that is not valid", check: eventsInvalid},
		{name: "query chooses", check: eventsChosen},
		{name: "read returns the error of its handler", check: eventsHandlerError},
		{name: "follow gives the kept events, then later ones", check: eventsFollowed},
		{name: "follow chooses too", check: eventsFollowChosen},
		{name: "follow that is cancelled returns nil and handles nothing more", check: eventsCancelled},
		{name: "two readers see everything", check: eventsTwice},
		{name: "concurrent appends lose nothing", check: eventsConcurrent},
		{name: "events are there after a restart, and follow goes on", check: eventsRestart, needs: restart},
		{name: "stored form", check: eventsStored, needs: stored},
	})
}

// sampleEvents are in the order of their times.
func sampleEvents() []contracts.Event {
	at := func(second int) time.Time { return time.Date(2026, 3, 4, 5, 6, second, 0, time.UTC) }
	return []contracts.Event{
		{Time: at(1), Kind: contracts.EventDeviceOnline, Device: "pi-1", Actor: "device"},
		{Time: at(2), Kind: contracts.EventDeviceOnline, Device: "pi-2"},
		{Time: at(3), Kind: contracts.EventDeploymentApplied, Deployment: "web", Message: "generation 2", Actor: "cli:ada"},
		{Time: at(4), Kind: contracts.EventWorkloadFailed, Device: "pi-1", Deployment: "web", Reason: "CrashLoop", Message: "why"},
		{Time: at(5), Kind: contracts.EventDeviceOffline, Device: "pi-1"},
	}
}

func appendEvents(t *testing.T, log domain.EventLog, events ...contracts.Event) {
	t.Helper()
	for _, event := range events {
		untilReachable(t, func() error { return log.Append(t.Context(), event) })
	}
}

func readEvents(t *testing.T, log domain.EventLog, query domain.EventQuery) []contracts.Event {
	t.Helper()
	var events []contracts.Event
	untilReachable(t, func() error {
		events = nil
		return log.Read(t.Context(), query, func(event contracts.Event) error {
			events = append(events, event)
			return nil
		})
	})
	return events
}

// eventFollower keeps what a follow delivers.
type eventFollower struct {
	*running
	mu     sync.Mutex
	events []contracts.Event
}

func followEvents(t *testing.T, log domain.EventLog, query domain.EventQuery) *eventFollower {
	t.Helper()
	query.Follow = true
	f := &eventFollower{}
	f.running = start(t, func(ctx context.Context) error {
		return log.Read(ctx, query, func(event contracts.Event) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events = append(f.events, event)
			return nil
		})
	})
	return f
}

func (f *eventFollower) all() []contracts.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events)
}

func (f *eventFollower) gets(t *testing.T, want ...contracts.Event) {
	t.Helper()
	eventually(t, func() bool { return len(f.all()) >= len(want) }, "the follower must get %d events", len(want))
	require.Equal(t, want, f.all())
}

func eventsInOrder(t *testing.T, f EventLogFixture) {
	appendEvents(t, f.Log, sampleEvents()...)
	require.Equal(t, sampleEvents(), readEvents(t, f.Log, domain.EventQuery{}))
	require.Equal(t, sampleEvents(), readEvents(t, f.Second, domain.EventQuery{}))
}

func eventsNone(t *testing.T, f EventLogFixture) {
	require.Empty(t, readEvents(t, f.Log, domain.EventQuery{}))
	require.Empty(t, readEvents(t, f.Log, domain.EventQuery{Device: "pi-1"}))
}

func eventsInvalid(t *testing.T, f EventLogFixture) {
	for _, event := range []contracts.Event{
		{Kind: "SomethingElse", Device: "pi-1"},
		{Kind: contracts.EventDeviceOnline},
		{Kind: contracts.EventDeviceOnline, Device: "Not A Name"},
	} {
		require.ErrorIs(t, f.Log.Append(t.Context(), event), domain.ErrInvalid, "%+v", event)
	}
	require.Empty(t, readEvents(t, f.Log, domain.EventQuery{}))
}

func eventsChosen(t *testing.T, f EventLogFixture) {
	all := sampleEvents()
	appendEvents(t, f.Log, all...)
	for name, c := range map[string]struct {
		query domain.EventQuery
		want  []contracts.Event
	}{
		"device":                {domain.EventQuery{Device: "pi-1"}, []contracts.Event{all[0], all[3], all[4]}},
		"deployment":            {domain.EventQuery{Deployment: "web"}, all[2:4]},
		"kind":                  {domain.EventQuery{Kind: contracts.EventDeviceOnline}, all[:2]},
		"device and kind":       {domain.EventQuery{Device: "pi-1", Kind: contracts.EventDeviceOnline}, all[:1]},
		"device and deployment": {domain.EventQuery{Device: "pi-1", Deployment: "web"}, all[3:4]},
		"since":                 {domain.EventQuery{Since: all[3].Time}, all[3:]},
		"nobody":                {domain.EventQuery{Device: "pi-9"}, nil},
	} {
		require.Equal(t, c.want, readEvents(t, f.Second, c.query), name)
	}
}

func eventsHandlerError(t *testing.T, f EventLogFixture) {
	appendEvents(t, f.Log, sampleEvents()...)
	enough := errors.New("enough")
	for _, follow := range []bool{false, true} {
		calls := 0
		reading := start(t, func(ctx context.Context) error {
			return f.Log.Read(ctx, domain.EventQuery{Follow: follow}, func(contracts.Event) error {
				calls++
				if calls == 2 {
					return enough
				}
				return nil
			})
		})
		require.ErrorIs(t, reading.wait(t), enough)
		require.Equal(t, 2, calls)
	}
}

func eventsFollowed(t *testing.T, f EventLogFixture) {
	all := sampleEvents()
	appendEvents(t, f.Log, all[:2]...)
	following := followEvents(t, f.Log, domain.EventQuery{})
	following.gets(t, all[:2]...)
	for i := 2; i < len(all); i++ {
		appendEvents(t, f.Second, all[i])
		following.gets(t, all[:i+1]...)
	}
}

func eventsFollowChosen(t *testing.T, f EventLogFixture) {
	all := sampleEvents()
	appendEvents(t, f.Log, all[:2]...)
	following := followEvents(t, f.Log, domain.EventQuery{Deployment: "web"})
	appendEvents(t, f.Log, all[2:]...)
	following.gets(t, all[2:4]...)
}

func eventsCancelled(t *testing.T, f EventLogFixture) {
	all := sampleEvents()
	appendEvents(t, f.Log, all[0])
	following := followEvents(t, f.Log, domain.EventQuery{})
	following.gets(t, all[0])
	require.NoError(t, following.end(t))
	witness := followEvents(t, f.Second, domain.EventQuery{})
	appendEvents(t, f.Log, all[1])
	witness.gets(t, all[:2]...)
	require.Equal(t, all[:1], following.all())
}

func eventsTwice(t *testing.T, f EventLogFixture) {
	readers := []*eventFollower{
		followEvents(t, f.Log, domain.EventQuery{}), followEvents(t, f.Log, domain.EventQuery{}), followEvents(t, f.Second, domain.EventQuery{}),
	}
	appendEvents(t, f.Log, sampleEvents()...)
	for _, reader := range readers {
		reader.gets(t, sampleEvents()...)
	}
}

func eventsConcurrent(t *testing.T, f EventLogFixture) {
	const writers, each = 6, 20
	var group sync.WaitGroup
	for w := range writers {
		log := f.Log
		if w%2 == 1 {
			log = f.Second
		}
		group.Go(func() {
			for n := range each {
				assert.NoError(t, log.Append(t.Context(), contracts.Event{
					Time: time.Now(), Kind: contracts.EventCommandExecuted, Device: contracts.DeviceID(fmt.Sprintf("pi-%d", w)), Message: fmt.Sprint(n),
				}))
			}
		})
	}
	group.Wait()
	for w := range writers {
		events := readEvents(t, f.Log, domain.EventQuery{Device: contracts.DeviceID(fmt.Sprintf("pi-%d", w))})
		require.Len(t, events, each)
		for n, event := range events {
			require.Equal(t, fmt.Sprint(n), event.Message, "the events of one writer keep their order")
		}
	}
}

func eventsRestart(t *testing.T, f EventLogFixture) {
	all := sampleEvents()
	appendEvents(t, f.Log, all[:3]...)
	following := followEvents(t, f.Log, domain.EventQuery{})
	following.gets(t, all[:3]...)
	f.Restart(t)
	require.Equal(t, all[:3], readEvents(t, f.Log, domain.EventQuery{}))
	appendEvents(t, f.Log, all[3:]...)
	following.gets(t, all...)
}

func eventsStored(t *testing.T, f EventLogFixture) {
	event := sampleEvents()[3]
	appendEvents(t, f.Log, event)
	want, err := contracts.Encode(event)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(f.Stored(t)))
}
