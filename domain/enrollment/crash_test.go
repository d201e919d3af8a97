package enrollment_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

// faults end every call from one on, before it does anything or after: as if
// the process had died there.
type faults struct {
	calls, dieAt int
	after        bool
}

func (f *faults) do(call func() error) error {
	f.calls++
	if f.calls < f.dieAt {
		return call()
	}
	if f.calls == f.dieAt && f.after {
		_ = call()
	}
	return domain.Errorf(domain.ErrUnavailable, "died at call %d", f.calls)
}

type faultyIntents struct {
	domain.EnrollmentStore
	*faults
}

func (s faultyIntents) Update(ctx context.Context, intent domain.EnrollmentIntent) (stored domain.EnrollmentIntent, err error) {
	err = s.do(func() error { stored, err = s.EnrollmentStore.Update(ctx, intent); return err })
	return stored, err
}

type faultyDevices struct {
	domain.DeviceRegistry
	*faults
}

func (s faultyDevices) Create(ctx context.Context, device domain.FleetDevice) (stored domain.FleetDevice, err error) {
	err = s.do(func() error { stored, err = s.DeviceRegistry.Create(ctx, device); return err })
	return stored, err
}

func (s faultyDevices) Update(ctx context.Context, device domain.FleetDevice) (stored domain.FleetDevice, err error) {
	err = s.do(func() error { stored, err = s.DeviceRegistry.Update(ctx, device); return err })
	return stored, err
}

type faultyMinter struct {
	domain.DeviceCredentialMinter
	*faults
}

func (m faultyMinter) Enroll(ctx context.Context, device contracts.DeviceID, key string, expires time.Time) (minted domain.DeviceCredential, err error) {
	err = m.do(func() error {
		minted, err = m.DeviceCredentialMinter.Enroll(ctx, device, key, expires)
		return err
	})
	return minted, err
}

func (m faultyMinter) Rotate(ctx context.Context, device contracts.DeviceID, key string, expires time.Time) (minted domain.DeviceCredential, err error) {
	err = m.do(func() error {
		minted, err = m.DeviceCredentialMinter.Rotate(ctx, device, key, expires)
		return err
	})
	return minted, err
}

// TestDeathBetweenAnyTwoSteps lets the service die at each of its writes, before
// and after it, for a device's first enrollment and one after a loss. The device
// asks again, perhaps with a new token and another key, and then one key works.
func TestDeathBetweenAnyTwoSteps(t *testing.T) {
	t.Parallel()
	const steps = 6
	for dieAt := 1; dieAt <= steps; dieAt++ {
		for _, after := range []bool{false, true} {
			for _, replaced := range []bool{false, true} {
				t.Run(fmt.Sprintf("call %d, done %t, replaced %t", dieAt, after, replaced), func(t *testing.T) {
					t.Parallel()
					dieThenGoOn(t, dieAt, after, replaced)
				})
			}
		}
	}
}

func dieThenGoOn(t *testing.T, dieAt int, after, replaced bool) {
	t.Helper()
	w := newWorld(t, nil)
	lost := newKey(t)
	require.Equal(t, contracts.EnrollmentDone, w.ask(t, "pi-1", w.invite(t, enrollment.Invitation{Device: "pi-1"}), lost).State)

	for _, device := range []contracts.DeviceID{"pi-1", "pi-2"} {
		f := &faults{dieAt: dieAt, after: after}
		dying := w.serve(enrollment.Capabilities{
			Intents: faultyIntents{w.caps.Intents, f}, Devices: faultyDevices{w.caps.Devices, f},
			Minter: faultyMinter{w.caps.Minter, f}, Events: w.caps.Events,
		}, nil)
		token, key := w.invite(t, enrollment.Invitation{Device: device}), newKey(t)
		reply, err := dying.Enroll(t.Context(), request(t, device, token, key))
		require.NoError(t, err)
		if reply.State != contracts.EnrollmentDone {
			require.Equal(t, contracts.EnrollmentPending, reply.State)
		}
		halfway := key
		if replaced {
			token, key = w.invite(t, enrollment.Invitation{Device: device}), newKey(t)
		}
		_, err = domain.UpdateEnrollment(t.Context(), w.caps.Intents, device, func(i *domain.EnrollmentIntent) error {
			i.BusyUntil = time.Time{} // as time does
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, contracts.EnrollmentDone, w.ask(t, device, token, key).State)
		require.True(t, w.signsIn(t, device, key))
		if replaced {
			require.False(t, w.signsIn(t, device, halfway), "the key of the enrollment that died is dead")
		}
	}
	require.False(t, w.signsIn(t, "pi-1", lost))
}

// manyKeys is a provider that gives a key a new ID each time it is registered, as
// real ones do, and takes its time.
type manyKeys struct {
	domain.DeviceCredentialMinter
	entered, leave chan struct{}
	made           int
	alive          string
}

func (m *manyKeys) Enroll(ctx context.Context, device contracts.DeviceID, key string, expires time.Time) (domain.DeviceCredential, error) {
	select {
	case m.entered <- struct{}{}:
		<-m.leave
	default:
	}
	return m.Rotate(ctx, device, key, expires)
}

func (m *manyKeys) Rotate(ctx context.Context, device contracts.DeviceID, key string, expires time.Time) (domain.DeviceCredential, error) {
	minted, err := m.DeviceCredentialMinter.Enroll(ctx, device, key, expires)
	m.made++
	minted.KeyID = fmt.Sprint(m.made)
	m.alive = minted.KeyID
	return minted, err
}

// TestTwoRequestsOfOneDevice: who runs `fleet-agent enroll` again while the first
// request is under way must not end with a key that the other has removed.
func TestTwoRequestsOfOneDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	m := &manyKeys{DeviceCredentialMinter: w.identity, entered: make(chan struct{}, 1), leave: make(chan struct{})}
	caps := w.caps
	caps.Minter = m
	w.service = w.serve(caps, nil)
	token, key := w.invite(t, enrollment.Invitation{Device: "pi-1"}), newKey(t)
	slow := make(chan contracts.EnrollReply)
	asked := request(t, "pi-1", token, key)
	go func() {
		reply, _ := w.service.Enroll(t.Context(), asked)
		slow <- reply
	}()
	require.Eventually(t, func() bool { return len(m.entered) == 1 }, time.Minute, time.Millisecond)
	require.Equal(t, contracts.EnrollmentPending, w.ask(t, "pi-1", token, key).State)
	close(m.leave)
	require.Equal(t, contracts.EnrollmentDone, (<-slow).State)
	reply := w.ask(t, "pi-1", token, key)
	require.Equal(t, contracts.EnrollmentDone, reply.State)
	require.Equal(t, m.alive, reply.Credential.KeyID)
}
