package enrollment_test

import (
	"context"
	"crypto/ecdsa"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

// rotating is the bus to devices that replace their keys when they are asked.
type rotating struct {
	w *world
	t *testing.T

	mu      sync.Mutex
	offline bool
	keys    map[contracts.DeviceID]*ecdsa.PrivateKey
	asked   int
}

// Call implements domain.CommandBus.
func (r *rotating) Call(ctx context.Context, device contracts.DeviceID, verb contracts.Verb, body []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.offline {
		return nil, domain.Errorf(domain.ErrUnavailable, "device %q is offline", device)
	}
	if verb == contracts.VerbPing {
		return domain.Answer(contracts.PingResult{AgentVersion: "1.0.0", Time: time.Now()}, nil), nil
	}
	r.asked++
	rotate, err := contracts.Decode[contracts.RotateRequest](body)
	if err != nil {
		return nil, err
	}
	key := newKey(r.t)
	reply, err := r.w.service.Enroll(ctx, request(r.t, device, rotate.Token, key))
	if err == nil && reply.State == contracts.EnrollmentDone {
		r.keys[device] = key
	}
	return domain.Answer(contracts.Empty{}, err), nil
}

func (r *rotating) set(offline bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.offline = offline
}

func (r *rotating) key(device contracts.DeviceID) *ecdsa.PrivateKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[device]
}

func TestKeysAreReplacedBeforeTheyExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		key := newKey(t)
		token := w.invite(t, enrollment.Invitation{Device: "pi-1", Labels: contracts.Labels{"site": "paris"}})
		require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", token, key).State)
		w.invite(t, enrollment.Invitation{Device: "pi-2"}) // has no key yet
		_, err := domain.UpdateDevice(t.Context(), w.fleet.Devices(), "pi-1", func(d *domain.FleetDevice) error {
			d.Labels = contracts.Labels{"site": "rome"}
			return nil
		})
		require.NoError(t, err)
		bus := &rotating{w: w, t: t, keys: map[contracts.DeviceID]*ecdsa.PrivateKey{"pi-1": key}}
		rotator := enrollment.NewRotator(w.fleet.Enrollments(), w.issuer, bus, enrollment.RotatorOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- rotator.Run(ctx) }()

		pass := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		pass(300 * 24 * time.Hour)
		require.Same(t, key, bus.key("pi-1"), "there is time yet")
		bus.set(true)
		pass(50 * 24 * time.Hour)
		require.True(t, w.signsIn(t, "pi-1", key), "a device that is offline keeps its key")
		bus.set(false)
		pass(2 * time.Hour)
		require.NotSame(t, key, bus.key("pi-1"))
		require.True(t, w.signsIn(t, "pi-1", bus.key("pi-1")))
		require.False(t, w.signsIn(t, "pi-1", key), "the old key is dead")
		pass(24 * time.Hour)
		require.Equal(t, 1, bus.asked, "once is enough")
		intent, err := w.fleet.Enrollments().Get(t.Context(), "pi-1")
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(364*24*time.Hour), intent.KeyExpiresAt, 24*time.Hour)
		device, err := w.fleet.Devices().Get(t.Context(), "pi-1")
		require.NoError(t, err)
		require.Equal(t, contracts.Labels{"site": "rome"}, device.Labels, "people's labels stay")
		cancel()
		require.NoError(t, <-ended)
	})
}

func TestRotationThatCameToNothingIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		key := newKey(t)
		require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", w.invite(t, enrollment.Invitation{Device: "pi-1"}), key).State)
		bus := &rotating{w: w, t: t, keys: map[contracts.DeviceID]*ecdsa.PrivateKey{"pi-1": key}}
		w.identity.SetReachable(false)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- enrollment.NewRotator(w.fleet.Enrollments(), w.issuer, bus, enrollment.RotatorOptions{}).Run(ctx)
		}()
		time.Sleep(340 * 24 * time.Hour)
		synctest.Wait()
		require.Same(t, key, bus.key("pi-1"), "the provider is away")
		w.identity.SetReachable(true)
		require.True(t, w.signsIn(t, "pi-1", key))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		require.True(t, w.signsIn(t, "pi-1", bus.key("pi-1")))
		require.NotSame(t, key, bus.key("pi-1"))
		cancel()
		require.NoError(t, <-ended)
	})
}

func TestRotateOnRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	bus := &rotating{w: w, t: t, keys: map[contracts.DeviceID]*ecdsa.PrivateKey{}}
	rotate := func(device contracts.DeviceID) error {
		return enrollment.Rotate(t.Context(), w.fleet.Enrollments(), w.issuer, bus, device)
	}
	require.ErrorIs(t, rotate("pi-1"), domain.ErrConflict)
	token := w.invite(t, enrollment.Invitation{Device: "pi-1"})
	require.ErrorIs(t, rotate("pi-1"), domain.ErrConflict, "it is not enrolled yet")
	key := newKey(t)
	require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", token, key).State)
	bus.set(true)
	require.ErrorIs(t, rotate("pi-1"), domain.ErrUnavailable)
	intent, err := w.fleet.Enrollments().Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, contracts.EnrollmentDone, intent.State, "nothing was spoiled")
	bus.set(false)
	require.NoError(t, rotate("pi-1"))
	require.True(t, w.signsIn(t, "pi-1", bus.key("pi-1")))
	require.False(t, w.signsIn(t, "pi-1", key))
}
