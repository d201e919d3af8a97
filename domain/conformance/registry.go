package conformance

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DeviceRegistryFixture is an empty registry.
type DeviceRegistryFixture struct {
	Registry domain.DeviceRegistry
	// Second is another client of the same backend.
	Second domain.DeviceRegistry
	// Restart stops the backend and starts it again with its durable data. Calls
	// may give ErrUnavailable for a while after it returned.
	Restart func(t *testing.T)
	// Stored returns what is stored about a device, past the registry.
	Stored func(t *testing.T, id contracts.DeviceID) []byte
}

// DeviceRegistry checks an implementation of domain.DeviceRegistry.
func DeviceRegistry(t *testing.T, open func(t *testing.T) DeviceRegistryFixture) {
	t.Helper()
	restart := named("Restart", func(_ *testing.T, f DeviceRegistryFixture) bool { return f.Restart != nil })
	stored := named("Stored", func(_ *testing.T, f DeviceRegistryFixture) bool { return f.Stored != nil })
	checkAll(t, open, append([]obligation[DeviceRegistryFixture]{
		{name: "create, then get", check: deviceCreated},
		{name: "unknown device is not found", check: deviceUnknown},
		{name: "create twice", check: deviceCreatedTwice},
		{name: "create what is not valid", check: deviceInvalid},
		{name: "update", check: deviceUpdated},
		{name: "stale revision is a conflict", check: deviceStale},
		{name: "delete, then create again", check: deviceDeleted},
		{name: "list by labels, sorted", check: deviceListed},
		{name: "values are copies", check: deviceCopied},
		{name: "concurrent updates lose nothing", check: deviceConcurrent},
		{name: "update of one field stops at an error", check: deviceEditError},
		{name: "concurrent creates have one winner", check: deviceCreateRace},
		{name: "data is there after a restart", check: deviceRestart, needs: restart},
		{name: "stored form", check: deviceStored, needs: stored},
		{name: "call with an ended context fails", check: deviceEnded},
	}, watchObligations(watchedDevices)...))
}

func watchedDevices(f DeviceRegistryFixture) watched[contracts.DeviceID, domain.FleetDevice] {
	return watched[contracts.DeviceID, domain.FleetDevice]{
		put: func(t *testing.T, id contracts.DeviceID, n int) {
			labels := contracts.Labels{"n": strconv.Itoa(n)}
			untilReachable(t, func() error {
				_, err := f.Registry.Create(t.Context(), domain.FleetDevice{ID: id, Labels: labels})
				if errors.Is(err, domain.ErrAlreadyExists) {
					_, err = domain.UpdateDevice(t.Context(), f.Registry, id, func(d *domain.FleetDevice) error {
						d.Labels = labels
						return nil
					})
				}
				return err
			})
		},
		remove: func(t *testing.T, id contracts.DeviceID) {
			device, err := f.Registry.Get(t.Context(), id)
			require.NoError(t, err)
			require.NoError(t, f.Registry.Delete(t.Context(), id, device.Revision))
		},
		number: func(d domain.FleetDevice) int {
			n, err := strconv.Atoi(d.Labels["n"])
			if err != nil {
				return -1
			}
			return n
		},
		watch:   f.Registry.Watch,
		second:  f.Second.Watch,
		restart: f.Restart,
	}
}

func sampleDevice(id contracts.DeviceID) domain.FleetDevice {
	return domain.FleetDevice{
		ID:           id,
		Labels:       contracts.Labels{"site": "paris", "example.com/rack": "7"},
		PublicKey:    "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		Revoked:      true,
		RegisteredAt: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
	}
}

// createDevice stores a device with one label.
func createDevice(t *testing.T, registry domain.DeviceRegistry, id contracts.DeviceID, labels contracts.Labels) domain.FleetDevice {
	t.Helper()
	device, err := registry.Create(t.Context(), domain.FleetDevice{ID: id, Labels: labels})
	require.NoError(t, err)
	return device
}

func deviceCreated(t *testing.T, f DeviceRegistryFixture) {
	want := sampleDevice("pi-1")
	created, err := f.Registry.Create(t.Context(), want)
	require.NoError(t, err)
	require.NotZero(t, created.Revision)
	want.Revision = created.Revision
	require.Equal(t, want, created)
	for _, client := range []domain.DeviceRegistry{f.Registry, f.Second} {
		got, err := client.Get(t.Context(), "pi-1")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func deviceUnknown(t *testing.T, f DeviceRegistryFixture) {
	_, err := f.Registry.Get(t.Context(), "pi-1")
	require.ErrorIs(t, err, domain.ErrNotFound)
	_, err = f.Registry.Update(t.Context(), domain.FleetDevice{ID: "pi-1", Revision: 1})
	require.ErrorIs(t, err, domain.ErrNotFound)
	require.ErrorIs(t, f.Registry.Delete(t.Context(), "pi-1", 1), domain.ErrNotFound)
	_, err = domain.UpdateDevice(t.Context(), f.Registry, "pi-1", func(*domain.FleetDevice) error { return nil })
	require.ErrorIs(t, err, domain.ErrNotFound)
	devices, err := f.Registry.List(t.Context(), contracts.LabelSelector{})
	require.NoError(t, err)
	require.Empty(t, devices)
}

func deviceCreatedTwice(t *testing.T, f DeviceRegistryFixture) {
	first := createDevice(t, f.Registry, "pi-1", contracts.Labels{"site": "paris"})
	for _, client := range []domain.DeviceRegistry{f.Registry, f.Second} {
		_, err := client.Create(t.Context(), domain.FleetDevice{ID: "pi-1", Labels: contracts.Labels{"site": "rome"}})
		require.ErrorIs(t, err, domain.ErrAlreadyExists)
	}
	got, err := f.Registry.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, first, got)
}

func deviceInvalid(t *testing.T, f DeviceRegistryFixture) {
	for _, device := range []domain.FleetDevice{
		{ID: "Not A Name"},
		{ID: ""},
		{ID: "pi-1", Labels: contracts.Labels{"site": "not a value"}},
		{ID: "pi-1", Labels: contracts.Labels{contracts.DeviceLabel: "pi-2"}},
		{ID: "pi-1", Labels: contracts.Labels{contracts.ReportedLabelPrefix + "arch": "arm64"}},
	} {
		_, err := f.Registry.Create(t.Context(), device)
		assert.ErrorIs(t, err, domain.ErrInvalid, "%+v", device)
	}
	_, err := f.Registry.Get(t.Context(), "pi-1")
	require.ErrorIs(t, err, domain.ErrNotFound)
}

func deviceUpdated(t *testing.T, f DeviceRegistryFixture) {
	device := createDevice(t, f.Registry, "pi-1", contracts.Labels{"site": "paris"})
	before := device.Revision
	device.Labels = contracts.Labels{"site": "rome"}
	device.Revoked = true
	updated, err := f.Second.Update(t.Context(), device)
	require.NoError(t, err)
	require.Greater(t, updated.Revision, before)
	got, err := f.Registry.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, updated, got)
	require.Equal(t, contracts.Labels{"site": "rome"}, got.Labels)
	require.True(t, got.Revoked)
	again, err := f.Registry.Update(t.Context(), updated)
	require.NoError(t, err, "the revision that an update returns is the one to update next")
	require.Greater(t, again.Revision, updated.Revision)
}

func deviceStale(t *testing.T, f DeviceRegistryFixture) {
	old := createDevice(t, f.Registry, "pi-1", nil)
	current, err := f.Second.Update(t.Context(), old)
	require.NoError(t, err)
	_, err = f.Registry.Update(t.Context(), old)
	require.ErrorIs(t, err, domain.ErrConflict)
	require.ErrorIs(t, f.Registry.Delete(t.Context(), "pi-1", old.Revision), domain.ErrConflict)
	unread := old
	unread.Revision = 0
	_, err = f.Registry.Update(t.Context(), unread)
	require.ErrorIs(t, err, domain.ErrConflict)
	got, err := f.Registry.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, current, got)
}

func deviceDeleted(t *testing.T, f DeviceRegistryFixture) {
	old := createDevice(t, f.Registry, "pi-1", contracts.Labels{"site": "paris"})
	require.NoError(t, f.Second.Delete(t.Context(), "pi-1", old.Revision))
	_, err := f.Registry.Get(t.Context(), "pi-1")
	require.ErrorIs(t, err, domain.ErrNotFound)
	_, err = f.Registry.Update(t.Context(), old)
	require.ErrorIs(t, err, domain.ErrNotFound)
	require.ErrorIs(t, f.Registry.Delete(t.Context(), "pi-1", old.Revision), domain.ErrNotFound)

	again := createDevice(t, f.Registry, "pi-1", nil)
	require.Greater(t, again.Revision, old.Revision)
	_, err = f.Registry.Update(t.Context(), old)
	require.ErrorIs(t, err, domain.ErrConflict)
}

func deviceListed(t *testing.T, f DeviceRegistryFixture) {
	createDevice(t, f.Registry, "pi-3", contracts.Labels{"site": "paris", "tier": "edge"})
	createDevice(t, f.Registry, "pi-1", contracts.Labels{"site": "paris"})
	createDevice(t, f.Second, "pi-2", contracts.Labels{"site": "rome"})
	gone := createDevice(t, f.Registry, "pi-4", contracts.Labels{"site": "paris"})
	require.NoError(t, f.Registry.Delete(t.Context(), gone.ID, gone.Revision))

	list := func(selector contracts.LabelSelector) []contracts.DeviceID {
		devices, err := f.Registry.List(t.Context(), selector)
		require.NoError(t, err)
		var ids []contracts.DeviceID
		for _, device := range devices {
			require.NotZero(t, device.Revision)
			ids = append(ids, device.ID)
		}
		return ids
	}
	require.Equal(t, []contracts.DeviceID{"pi-1", "pi-2", "pi-3"}, list(contracts.LabelSelector{}))
	require.Equal(t, []contracts.DeviceID{"pi-1", "pi-3"}, list(contracts.LabelSelector{MatchLabels: map[string]string{"site": "paris"}}))
	require.Equal(t, []contracts.DeviceID{"pi-1", "pi-2"}, list(contracts.LabelSelector{
		MatchExpressions: []contracts.SelectorRequirement{{Key: "tier", Operator: contracts.SelectorDoesNotExist}},
	}))
	require.Empty(t, list(contracts.LabelSelector{MatchLabels: map[string]string{"site": "oslo"}}))
}

func deviceCopied(t *testing.T, f DeviceRegistryFixture) {
	labels := contracts.Labels{"site": "paris"}
	created := createDevice(t, f.Registry, "pi-1", labels)
	labels["site"] = "changed"
	created.Labels["site"] = "changed"
	got, err := f.Registry.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, "paris", got.Labels["site"])
	got.Labels["site"] = "changed"
	devices, err := f.Registry.List(t.Context(), contracts.LabelSelector{})
	require.NoError(t, err)
	require.Equal(t, "paris", devices[0].Labels["site"])
}

func deviceConcurrent(t *testing.T, f DeviceRegistryFixture) {
	const writers, edits = 8, 5
	createDevice(t, f.Registry, "pi-1", nil)
	var group sync.WaitGroup
	for w := range writers {
		client := f.Registry
		if w%2 == 1 {
			client = f.Second
		}
		group.Go(func() {
			for e := range edits {
				_, err := domain.UpdateDevice(t.Context(), client, "pi-1", func(d *domain.FleetDevice) error {
					if d.Labels == nil {
						d.Labels = contracts.Labels{}
					}
					d.Labels[fmt.Sprintf("w%d-%d", w, e)] = "x"
					return nil
				})
				assert.NoError(t, err)
			}
		})
	}
	group.Wait()
	got, err := f.Registry.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Len(t, got.Labels, writers*edits)
}

func deviceEditError(t *testing.T, f DeviceRegistryFixture) {
	created := createDevice(t, f.Registry, "pi-1", nil)
	enough := errors.New("enough")
	_, err := domain.UpdateDevice(t.Context(), f.Registry, "pi-1", func(*domain.FleetDevice) error { return enough })
	require.ErrorIs(t, err, enough)
	got, err := f.Registry.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, created.Revision, got.Revision)
}

func deviceCreateRace(t *testing.T, f DeviceRegistryFixture) {
	const contenders = 8
	errs := make([]error, contenders)
	var group sync.WaitGroup
	for i := range contenders {
		group.Go(func() {
			_, errs[i] = f.Registry.Create(t.Context(), domain.FleetDevice{ID: "pi-1"})
		})
	}
	group.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, domain.ErrAlreadyExists)
	}
	require.Equal(t, 1, won)
}

func deviceRestart(t *testing.T, f DeviceRegistryFixture) {
	created, err := f.Registry.Create(t.Context(), sampleDevice("pi-1"))
	require.NoError(t, err)
	f.Restart(t)
	var got domain.FleetDevice
	untilReachable(t, func() error {
		got, err = f.Registry.Get(t.Context(), "pi-1")
		return err
	})
	require.Equal(t, created, got)
	got.Labels = nil
	untilReachable(t, func() error {
		_, err := f.Registry.Update(t.Context(), got)
		return err
	})
}

func deviceStored(t *testing.T, f DeviceRegistryFixture) {
	created, err := f.Registry.Create(t.Context(), sampleDevice("pi-1"))
	require.NoError(t, err)
	want, err := contracts.Encode(created.Record())
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(f.Stored(t, "pi-1")))
}

func deviceEnded(t *testing.T, f DeviceRegistryFixture) {
	createDevice(t, f.Registry, "pi-1", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.Registry.Get(ctx, "pi-1")
	require.Error(t, err)
	require.NotErrorIs(t, err, domain.ErrNotFound)
	_, err = f.Registry.List(ctx, contracts.LabelSelector{})
	require.Error(t, err)
	require.NoError(t, f.Registry.Watch(ctx, 0, func(domain.DeviceChange) error { return nil }))
}
