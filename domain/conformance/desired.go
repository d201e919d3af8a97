package conformance

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DesiredStateFixture is both sides of desired state, nothing published yet.
type DesiredStateFixture struct {
	Publisher domain.DesiredStatePublisher
	// Second is another client of the same backend.
	Second domain.DesiredStatePublisher
	// Device connects a device, whose SetConnected cuts and restores its link;
	// nil when the fixture cannot. It returns once the link is as asked for.
	Device func(t *testing.T, id contracts.DeviceID) DesiredStateDevice
	// Restart stops the backend and starts it again with its durable data. Calls
	// may give ErrUnavailable for a while after it returned.
	Restart func(t *testing.T)
	// Stored returns what is stored for a device, past the publisher.
	Stored func(t *testing.T, device contracts.DeviceID) []byte
}

// DesiredStateDevice is one device's side.
type DesiredStateDevice struct {
	Source       domain.DesiredStateSource
	SetConnected func(t *testing.T, connected bool)
}

// DesiredState checks an implementation of domain.DesiredStatePublisher and of
// domain.DesiredStateSource.
func DesiredState(t *testing.T, open func(t *testing.T) DesiredStateFixture) {
	t.Helper()
	restart := named("Restart", func(_ *testing.T, f DesiredStateFixture) bool { return f.Restart != nil })
	stored := named("Stored", func(_ *testing.T, f DesiredStateFixture) bool { return f.Stored != nil })
	link := named("SetConnected", func(t *testing.T, f DesiredStateFixture) bool { return f.Device(t, "asked").SetConnected != nil })
	checkAll(t, open, []obligation[DesiredStateFixture]{
		{name: "publish, then get", check: desiredPublished},
		{name: "publish of nothing", check: desiredPublishedNothing},
		{name: "unknown device is not found", check: desiredUnknown},
		{name: "stale revision is a conflict", check: desiredStale},
		{name: "each document has its own result", check: desiredOwnResults},
		{name: "concurrent publishers have one winner", check: desiredRace},
		{name: "publish with an ended context is not known to be stored", check: desiredEnded},
		{name: "load of many", check: desiredLoad},
		{name: "load of nothing", check: desiredLoadNothing},
		{name: "load returns the error of its handler", check: desiredLoadError},
		{name: "remove", check: desiredRemoved},
		{name: "values are copies", check: desiredCopied},
		{name: "data is there after a restart", check: desiredRestart, needs: restart},
		{name: "stored form", check: desiredStored, needs: stored},
		{name: "device gets what is stored, then each new one", check: followCurrentThenNew},
		{name: "device that waits gets its first document", check: followFirst},
		{name: "device gets its own documents alone", check: followOwn},
		{name: "device that holds an older one gets the newer", check: followHeld},
		{name: "device catches up after its link was cut", check: followReconnect, needs: link},
		{name: "device that has lost its document gets it again with its link", check: followLost, needs: link},
		{name: "device goes on across a restart", check: followRestart, needs: restart},
		{name: "device keeps what it has after a removal", check: followRemoved},
		{name: "device handles one document at a time", check: followOneAtATime},
		{name: "follow that is cancelled returns nil and handles nothing more", check: followCancelled},
		{name: "many devices each get their last document", check: followMany},
	})
}

// signer makes envelopes.
type signer struct{ key ed25519.PrivateKey }

func newSigner(t *testing.T) signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	return signer{key: key}
}

// envelope returns the signed desired state of one generation.
func (s signer) envelope(t *testing.T, device contracts.DeviceID, generation uint64) []byte {
	t.Helper()
	document, err := contracts.Encode(contracts.DesiredState{
		Device: device, Generation: generation, HeartbeatInterval: contracts.DefaultHeartbeatInterval,
	})
	require.NoError(t, err)
	return contracts.Sign(document, s.key)
}

// publish stores one document, which must succeed, and returns its revision.
func (s signer) publish(t *testing.T, publisher domain.DesiredStatePublisher, device contracts.DeviceID, generation uint64, replaces domain.Revision) domain.Revision {
	t.Helper()
	results := publisher.Publish(t.Context(), []domain.DesiredDocument{
		{Device: device, Envelope: s.envelope(t, device, generation), Revision: replaces},
	})
	require.Len(t, results, 1)
	require.NoError(t, results[0].Err)
	require.Greater(t, results[0].Revision, replaces)
	return results[0].Revision
}

func desiredPublished(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	first := s.publish(t, f.Publisher, "pi-1", 1, 0)
	second := s.publish(t, f.Second, "pi-1", 2, first)
	for _, client := range []domain.DesiredStatePublisher{f.Publisher, f.Second} {
		got, err := client.Get(t.Context(), "pi-1")
		require.NoError(t, err)
		require.Equal(t, domain.DesiredDocument{Device: "pi-1", Envelope: s.envelope(t, "pi-1", 2), Revision: second}, got,
			"the bytes are signed and must come back as they were")
	}
}

func desiredPublishedNothing(t *testing.T, f DesiredStateFixture) {
	require.Empty(t, f.Publisher.Publish(t.Context(), nil))
}

func desiredUnknown(t *testing.T, f DesiredStateFixture) {
	_, err := f.Publisher.Get(t.Context(), "pi-1")
	require.ErrorIs(t, err, domain.ErrNotFound)
}

func desiredStale(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	first := s.publish(t, f.Publisher, "pi-1", 1, 0)
	second := s.publish(t, f.Second, "pi-1", 2, first)
	for _, stale := range []domain.Revision{0, first, second + 1} {
		results := f.Publisher.Publish(t.Context(), []domain.DesiredDocument{
			{Device: "pi-1", Envelope: s.envelope(t, "pi-1", 3), Revision: stale},
		})
		require.ErrorIs(t, results[0].Err, domain.ErrConflict, "revision %d", stale)
	}
	got, err := f.Publisher.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, second, got.Revision)
	require.Equal(t, s.envelope(t, "pi-1", 2), got.Envelope)
}

func desiredOwnResults(t *testing.T, f DesiredStateFixture) {
	const documents, conflicting, tooLarge = 60, 17, 42
	s := newSigner(t)
	batch := make([]domain.DesiredDocument, documents)
	for i := range batch {
		device := contracts.DeviceID(fmt.Sprintf("pi-%d", i))
		batch[i] = domain.DesiredDocument{Device: device, Envelope: s.envelope(t, device, 2)}
	}
	s.publish(t, f.Second, batch[conflicting].Device, 1, 0)
	batch[tooLarge].Envelope = bytes.Repeat([]byte("x"), 4<<20)

	results := f.Publisher.Publish(t.Context(), batch)
	require.Len(t, results, documents)
	for i, result := range results {
		switch i {
		case conflicting:
			require.ErrorIs(t, result.Err, domain.ErrConflict)
		case tooLarge:
			require.ErrorIs(t, result.Err, domain.ErrInvalid)
		default:
			require.NoError(t, result.Err)
			got, err := f.Second.Get(t.Context(), batch[i].Device)
			require.NoError(t, err)
			require.Equal(t, result.Revision, got.Revision)
			require.Equal(t, batch[i].Envelope, got.Envelope)
		}
	}
	_, err := f.Publisher.Get(t.Context(), batch[tooLarge].Device)
	require.ErrorIs(t, err, domain.ErrNotFound)
}

func desiredRace(t *testing.T, f DesiredStateFixture) {
	const contenders = 8
	s := newSigner(t)
	revision := s.publish(t, f.Publisher, "pi-1", 1, 0)
	envelopes := make([][]byte, contenders)
	for i := range envelopes {
		envelopes[i] = s.envelope(t, "pi-1", uint64(i+2))
	}
	results := make([]domain.PublishResult, contenders)
	var group sync.WaitGroup
	for i := range contenders {
		client := f.Publisher
		if i%2 == 1 {
			client = f.Second
		}
		group.Go(func() {
			results[i] = client.Publish(t.Context(), []domain.DesiredDocument{
				{Device: "pi-1", Envelope: envelopes[i], Revision: revision},
			})[0]
		})
	}
	group.Wait()
	got, err := f.Publisher.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	won := 0
	for i, result := range results {
		if result.Err != nil {
			require.ErrorIs(t, result.Err, domain.ErrConflict)
			continue
		}
		won++
		require.Equal(t, result.Revision, got.Revision)
		require.Equal(t, envelopes[i], got.Envelope)
	}
	require.Equal(t, 1, won)
}

func desiredEnded(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	results := f.Publisher.Publish(ctx, []domain.DesiredDocument{
		{Device: "pi-1", Envelope: s.envelope(t, "pi-1", 1)}, {Device: "pi-2", Envelope: s.envelope(t, "pi-2", 1)},
	})
	require.Len(t, results, 2)
	for _, result := range results {
		require.ErrorIs(t, result.Err, domain.ErrUnavailable)
	}
}

func desiredLoad(t *testing.T, f DesiredStateFixture) {
	const documents = 1500
	s := newSigner(t)
	batch := make([]domain.DesiredDocument, documents)
	for i := range batch {
		device := contracts.DeviceID(fmt.Sprintf("pi-%d", i))
		batch[i] = domain.DesiredDocument{Device: device, Envelope: s.envelope(t, device, 1)}
	}
	want := map[contracts.DeviceID]domain.DesiredDocument{}
	for i, result := range f.Publisher.Publish(t.Context(), batch) {
		require.NoError(t, result.Err)
		batch[i].Revision = result.Revision
		want[batch[i].Device] = batch[i]
	}
	require.NoError(t, f.Publisher.Remove(t.Context(), "pi-7", want["pi-7"].Revision))
	delete(want, "pi-7")

	got := map[contracts.DeviceID]domain.DesiredDocument{}
	require.NoError(t, f.Second.Load(t.Context(), func(document domain.DesiredDocument) error {
		assert.NotContains(t, got, document.Device)
		got[document.Device] = document
		return nil
	}))
	require.Equal(t, want, got)
}

func desiredLoadNothing(t *testing.T, f DesiredStateFixture) {
	none := func(domain.DesiredDocument) error { return errors.New("there is nothing") }
	require.NoError(t, f.Publisher.Load(t.Context(), none))
	revision := newSigner(t).publish(t, f.Publisher, "pi-1", 1, 0)
	require.NoError(t, f.Publisher.Remove(t.Context(), "pi-1", revision))
	require.NoError(t, f.Publisher.Load(t.Context(), none))
}

func desiredLoadError(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	s.publish(t, f.Publisher, "pi-1", 1, 0)
	s.publish(t, f.Publisher, "pi-2", 1, 0)
	enough := errors.New("enough")
	calls := 0
	require.ErrorIs(t, f.Publisher.Load(t.Context(), func(domain.DesiredDocument) error {
		calls++
		return enough
	}), enough)
	require.Equal(t, 1, calls)
}

func desiredRemoved(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	require.NoError(t, f.Publisher.Remove(t.Context(), "pi-1", 0))
	require.NoError(t, f.Publisher.Remove(t.Context(), "pi-1", 7))
	first := s.publish(t, f.Publisher, "pi-1", 1, 0)
	second := s.publish(t, f.Publisher, "pi-1", 2, first)
	require.ErrorIs(t, f.Publisher.Remove(t.Context(), "pi-1", first), domain.ErrConflict)
	require.NoError(t, f.Second.Remove(t.Context(), "pi-1", second))
	_, err := f.Publisher.Get(t.Context(), "pi-1")
	require.ErrorIs(t, err, domain.ErrNotFound)
	require.NoError(t, f.Publisher.Remove(t.Context(), "pi-1", second))

	results := f.Publisher.Publish(t.Context(), []domain.DesiredDocument{
		{Device: "pi-1", Envelope: s.envelope(t, "pi-1", 3), Revision: second},
	})
	require.ErrorIs(t, results[0].Err, domain.ErrConflict, "what was removed is not stored any more")
	third := s.publish(t, f.Publisher, "pi-1", 3, 0)
	require.Greater(t, third, second)
}

func desiredCopied(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	envelope := s.envelope(t, "pi-1", 1)
	results := f.Publisher.Publish(t.Context(), []domain.DesiredDocument{{Device: "pi-1", Envelope: envelope}})
	require.NoError(t, results[0].Err)
	clear(envelope)
	got, err := f.Publisher.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	clear(got.Envelope)
	got, err = f.Publisher.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, s.envelope(t, "pi-1", 1), got.Envelope)
}

func desiredRestart(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	revision := s.publish(t, f.Publisher, "pi-1", 1, 0)
	f.Restart(t)
	var got domain.DesiredDocument
	untilReachable(t, func() (err error) {
		got, err = f.Publisher.Get(t.Context(), "pi-1")
		return err
	})
	require.Equal(t, domain.DesiredDocument{Device: "pi-1", Envelope: s.envelope(t, "pi-1", 1), Revision: revision}, got)
	s.publish(t, f.Publisher, "pi-1", 2, revision)
}

func desiredStored(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	s.publish(t, f.Publisher, "pi-1", 1, 0)
	require.Equal(t, s.envelope(t, "pi-1", 1), f.Stored(t, "pi-1"))
}

// follower is a device that believes each document, and holds the newest.
type follower struct {
	*running
	held atomic.Uint64

	mu        sync.Mutex
	envelopes [][]byte
}

func follow(t *testing.T, source domain.DesiredStateSource, held uint64) *follower {
	t.Helper()
	f := &follower{}
	f.held.Store(held)
	f.running = start(t, func(ctx context.Context) error {
		return source.Follow(ctx, f.held.Load, func(envelope []byte) { f.handle(t, envelope) })
	})
	return f
}

func (f *follower) handle(t *testing.T, envelope []byte) {
	t.Helper()
	signed, err := contracts.Decode[contracts.Signed](envelope)
	if !assert.NoError(t, err, "what is handled is an encoded envelope") {
		return
	}
	state, err := contracts.Decode[contracts.DesiredState](signed.Document)
	if !assert.NoError(t, err) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.envelopes = append(f.envelopes, slices.Clone(envelope))
	f.held.Store(max(f.held.Load(), state.Generation))
}

func (f *follower) all() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.envelopes)
}

// gets waits until the device was given exactly these bytes.
func (f *follower) gets(t *testing.T, envelope []byte) {
	t.Helper()
	eventually(t, func() bool {
		return slices.ContainsFunc(f.all(), func(got []byte) bool { return bytes.Equal(got, envelope) })
	}, "the device must get its document")
}

func followCurrentThenNew(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	revision := s.publish(t, f.Publisher, "pi-1", 1, 0)
	device := follow(t, f.Device(t, "pi-1").Source, 0)
	device.gets(t, s.envelope(t, "pi-1", 1))
	for generation := uint64(2); generation < 6; generation++ {
		revision = s.publish(t, f.Publisher, "pi-1", generation, revision)
		device.gets(t, s.envelope(t, "pi-1", generation))
	}
	require.NoError(t, device.end(t))
}

func followFirst(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	device := follow(t, f.Device(t, "pi-1").Source, 0)
	s.publish(t, f.Publisher, "pi-2", 1, 0)
	s.publish(t, f.Publisher, "pi-1", 1, 0)
	device.gets(t, s.envelope(t, "pi-1", 1))
}

func followOwn(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	first := follow(t, f.Device(t, "pi-1").Source, 0)
	second := follow(t, f.Device(t, "pi-2").Source, 0)
	s.publish(t, f.Publisher, "pi-1", 1, 0)
	s.publish(t, f.Publisher, "pi-2", 1, 0)
	first.gets(t, s.envelope(t, "pi-1", 1))
	second.gets(t, s.envelope(t, "pi-2", 1))
	for _, envelope := range first.all() {
		require.Equal(t, s.envelope(t, "pi-1", 1), envelope)
	}
	for _, envelope := range second.all() {
		require.Equal(t, s.envelope(t, "pi-2", 1), envelope)
	}
}

func followHeld(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	revision := s.publish(t, f.Publisher, "pi-1", 4, 0)
	behind := follow(t, f.Device(t, "pi-1").Source, 3)
	behind.gets(t, s.envelope(t, "pi-1", 4))
	require.NoError(t, behind.end(t))
	current := follow(t, f.Device(t, "pi-1").Source, 4)
	s.publish(t, f.Publisher, "pi-1", 5, revision)
	current.gets(t, s.envelope(t, "pi-1", 5))
}

func followReconnect(t *testing.T, f DesiredStateFixture) {
	link := f.Device(t, "pi-1")
	s := newSigner(t)
	revision := s.publish(t, f.Publisher, "pi-1", 1, 0)
	device := follow(t, link.Source, 0)
	device.gets(t, s.envelope(t, "pi-1", 1))
	for generation := uint64(2); generation < 5; generation++ {
		link.SetConnected(t, false)
		before := len(device.all())
		revision = s.publish(t, f.Publisher, "pi-1", generation, revision)
		require.Len(t, device.all(), before, "nothing is delivered without a link")
		link.SetConnected(t, true)
		device.gets(t, s.envelope(t, "pi-1", generation))
	}
}

func followLost(t *testing.T, f DesiredStateFixture) {
	link := f.Device(t, "pi-1")
	s := newSigner(t)
	s.publish(t, f.Publisher, "pi-1", 1, 0)
	device := follow(t, link.Source, 0)
	device.gets(t, s.envelope(t, "pi-1", 1))
	link.SetConnected(t, false)
	before := len(device.all())
	device.held.Store(0)
	link.SetConnected(t, true)
	eventually(t, func() bool { return len(device.all()) > before }, "the device must get its document again")
}

func followRestart(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	revision := s.publish(t, f.Publisher, "pi-1", 1, 0)
	device := follow(t, f.Device(t, "pi-1").Source, 0)
	device.gets(t, s.envelope(t, "pi-1", 1))
	f.Restart(t)
	untilReachable(t, func() error {
		_, err := f.Publisher.Get(t.Context(), "pi-1")
		return err
	})
	s.publish(t, f.Publisher, "pi-1", 2, revision)
	device.gets(t, s.envelope(t, "pi-1", 2))
}

func followRemoved(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	revision := s.publish(t, f.Publisher, "pi-1", 1, 0)
	device := follow(t, f.Device(t, "pi-1").Source, 0)
	device.gets(t, s.envelope(t, "pi-1", 1))
	require.NoError(t, f.Publisher.Remove(t.Context(), "pi-1", revision))
	s.publish(t, f.Publisher, "pi-1", 2, 0)
	// handle fails on anything that is not a document, such as a deletion.
	device.gets(t, s.envelope(t, "pi-1", 2))
}

func followOneAtATime(t *testing.T, f DesiredStateFixture) {
	const last = 20
	s := newSigner(t)
	envelopes := map[string]uint64{}
	for generation := uint64(1); generation <= last; generation++ {
		envelopes[string(s.envelope(t, "pi-1", generation))] = generation
	}
	var inside, newest atomic.Uint64
	source := f.Device(t, "pi-1").Source
	start(t, func(ctx context.Context) error {
		return source.Follow(ctx, newest.Load, func(envelope []byte) {
			assert.EqualValues(t, 1, inside.Add(1), "two calls at a time")
			newest.Store(max(newest.Load(), envelopes[string(envelope)]))
			inside.Add(^uint64(0))
		})
	})
	var revision domain.Revision
	for generation := uint64(1); generation <= last; generation++ {
		revision = s.publish(t, f.Publisher, "pi-1", generation, revision)
	}
	eventually(t, func() bool { return newest.Load() == last }, "the device must get the last document")
}

func followCancelled(t *testing.T, f DesiredStateFixture) {
	s := newSigner(t)
	revision := s.publish(t, f.Publisher, "pi-1", 1, 0)
	device := follow(t, f.Device(t, "pi-1").Source, 0)
	device.gets(t, s.envelope(t, "pi-1", 1))
	require.NoError(t, device.end(t))
	before := len(device.all())
	s.publish(t, f.Publisher, "pi-1", 2, revision)
	witness := follow(t, f.Device(t, "pi-1").Source, 0)
	witness.gets(t, s.envelope(t, "pi-1", 2))
	require.Len(t, device.all(), before)
}

func followMany(t *testing.T, f DesiredStateFixture) {
	const devices, generations = 20, 5
	s := newSigner(t)
	batch := make([]domain.DesiredDocument, devices)
	followers := make([]*follower, devices)
	for i := range batch {
		batch[i].Device = contracts.DeviceID(fmt.Sprintf("pi-%d", i))
		followers[i] = follow(t, f.Device(t, batch[i].Device).Source, 0)
	}
	for generation := uint64(1); generation <= generations; generation++ {
		for i := range batch {
			batch[i].Envelope = s.envelope(t, batch[i].Device, generation)
		}
		for i, result := range f.Publisher.Publish(t.Context(), batch) {
			require.NoError(t, result.Err)
			batch[i].Revision = result.Revision
		}
	}
	for i, device := range followers {
		device.gets(t, batch[i].Envelope)
	}
}
