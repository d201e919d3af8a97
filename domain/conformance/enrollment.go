package conformance

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// EnrollmentStoreFixture is an empty store.
type EnrollmentStoreFixture struct {
	Store domain.EnrollmentStore
	// Second is another client of the same backend.
	Second domain.EnrollmentStore
	// Restart stops the backend and starts it again with its durable data. Calls
	// may give ErrUnavailable for a while after it returned.
	Restart func(t *testing.T)
	// Stored returns what is stored about a device, past the store.
	Stored func(t *testing.T, device contracts.DeviceID) []byte
}

// EnrollmentStore checks an implementation of domain.EnrollmentStore.
func EnrollmentStore(t *testing.T, open func(t *testing.T) EnrollmentStoreFixture) {
	t.Helper()
	restart := named("Restart", func(_ *testing.T, f EnrollmentStoreFixture) bool { return f.Restart != nil })
	stored := named("Stored", func(_ *testing.T, f EnrollmentStoreFixture) bool { return f.Stored != nil })
	checkAll(t, open, []obligation[EnrollmentStoreFixture]{
		{name: "create, then get", check: intentCreated},
		{name: "unknown device is not found", check: intentUnknown},
		{name: "create twice", check: intentCreatedTwice},
		{name: "create what is not valid", check: intentInvalid},
		{name: "update", check: intentUpdated},
		{name: "stale revision is a conflict", check: intentStale},
		{name: "list, sorted", check: intentsListed},
		{name: "values are copies", check: intentCopied},
		{name: "one of many takes it", check: intentTaken},
		{name: "data is there after a restart", check: intentRestart, needs: restart},
		{name: "stored form", check: intentStored, needs: stored},
		{name: "call with an ended context fails", check: intentEnded},
	})
}

func sampleIntent(device contracts.DeviceID) domain.EnrollmentIntent {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return domain.EnrollmentIntent{
		Device:       device,
		Labels:       contracts.Labels{"site": "paris"},
		State:        contracts.EnrollmentReview,
		TokenHash:    strings.Repeat("0f", 32),
		CreatedAt:    at,
		ExpiresAt:    at.Add(time.Hour),
		PublicKey:    "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		Reason:       "waits for a person",
		UserID:       "fleet-pi",
		KeyID:        "1",
		KeyExpiresAt: at.Add(24 * time.Hour),
	}
}

func createIntent(t *testing.T, store domain.EnrollmentStore, device contracts.DeviceID) domain.EnrollmentIntent {
	t.Helper()
	intent, err := store.Create(t.Context(), sampleIntent(device))
	require.NoError(t, err)
	return intent
}

func intentCreated(t *testing.T, f EnrollmentStoreFixture) {
	want := sampleIntent("pi-1")
	created, err := f.Store.Create(t.Context(), want)
	require.NoError(t, err)
	require.NotZero(t, created.Revision)
	want.Revision = created.Revision
	require.Equal(t, want, created)
	for _, client := range []domain.EnrollmentStore{f.Store, f.Second} {
		got, err := client.Get(t.Context(), "pi-1")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func intentUnknown(t *testing.T, f EnrollmentStoreFixture) {
	_, err := f.Store.Get(t.Context(), "pi-1")
	require.ErrorIs(t, err, domain.ErrNotFound)
	unknown := sampleIntent("pi-1")
	unknown.Revision = 1
	_, err = f.Store.Update(t.Context(), unknown)
	require.ErrorIs(t, err, domain.ErrNotFound)
	_, err = domain.UpdateEnrollment(t.Context(), f.Store, "pi-1", func(*domain.EnrollmentIntent) error { return nil })
	require.ErrorIs(t, err, domain.ErrNotFound)
	intents, err := f.Store.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, intents)
}

func intentCreatedTwice(t *testing.T, f EnrollmentStoreFixture) {
	first := createIntent(t, f.Store, "pi-1")
	for _, client := range []domain.EnrollmentStore{f.Store, f.Second} {
		again := sampleIntent("pi-1")
		again.Reason = "again"
		_, err := client.Create(t.Context(), again)
		require.ErrorIs(t, err, domain.ErrAlreadyExists)
	}
	got, err := f.Store.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, first, got)
}

func intentInvalid(t *testing.T, f EnrollmentStoreFixture) {
	for _, spoil := range []func(*domain.EnrollmentIntent){
		func(i *domain.EnrollmentIntent) { i.Device = "Not A Name" },
		func(i *domain.EnrollmentIntent) { i.State = "Odd" },
		func(i *domain.EnrollmentIntent) { i.TokenHash = "the token itself" },
		func(i *domain.EnrollmentIntent) { i.Labels = contracts.Labels{contracts.DeviceLabel: "pi-2"} },
	} {
		intent := sampleIntent("pi-1")
		spoil(&intent)
		_, err := f.Store.Create(t.Context(), intent)
		assert.ErrorIs(t, err, domain.ErrInvalid, "%+v", intent)
	}
	created := createIntent(t, f.Store, "pi-1")
	created.State = "Odd"
	_, err := f.Store.Update(t.Context(), created)
	require.ErrorIs(t, err, domain.ErrInvalid)
}

func intentUpdated(t *testing.T, f EnrollmentStoreFixture) {
	intent := createIntent(t, f.Store, "pi-1")
	before := intent.Revision
	intent.State, intent.Reason = contracts.EnrollmentDenied, "unknown serial"
	updated, err := f.Second.Update(t.Context(), intent)
	require.NoError(t, err)
	require.Greater(t, updated.Revision, before)
	got, err := f.Store.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, updated, got)
	require.Equal(t, contracts.EnrollmentDenied, got.State)
}

func intentStale(t *testing.T, f EnrollmentStoreFixture) {
	old := createIntent(t, f.Store, "pi-1")
	current, err := f.Second.Update(t.Context(), old)
	require.NoError(t, err)
	_, err = f.Store.Update(t.Context(), old)
	require.ErrorIs(t, err, domain.ErrConflict)
	got, err := f.Store.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, current, got)
}

func intentsListed(t *testing.T, f EnrollmentStoreFixture) {
	for _, device := range []contracts.DeviceID{"pi-3", "pi-1", "pi-2"} {
		createIntent(t, f.Store, device)
	}
	last, err := domain.UpdateEnrollment(t.Context(), f.Store, "pi-2", func(i *domain.EnrollmentIntent) error {
		i.State = contracts.EnrollmentApproved
		return nil
	})
	require.NoError(t, err)
	intents, err := f.Second.List(t.Context())
	require.NoError(t, err)
	require.Len(t, intents, 3)
	require.Equal(t, contracts.DeviceID("pi-1"), intents[0].Device)
	require.Equal(t, last, intents[1])
	require.Equal(t, contracts.DeviceID("pi-3"), intents[2].Device)
}

func intentCopied(t *testing.T, f EnrollmentStoreFixture) {
	intent := sampleIntent("pi-1")
	created, err := f.Store.Create(t.Context(), intent)
	require.NoError(t, err)
	intent.Labels["site"], created.Labels["site"] = "changed", "changed"
	got, err := f.Store.Get(t.Context(), "pi-1")
	require.NoError(t, err)
	require.Equal(t, "paris", got.Labels["site"])
}

// intentTaken is what keeps a token from being used twice.
func intentTaken(t *testing.T, f EnrollmentStoreFixture) {
	const contenders = 8
	created := createIntent(t, f.Store, "pi-1")
	errs := make([]error, contenders)
	var group sync.WaitGroup
	for i := range contenders {
		group.Go(func() {
			mine := created
			mine.KeyID = string(rune('a' + i))
			_, errs[i] = f.Store.Update(t.Context(), mine)
		})
	}
	group.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, domain.ErrConflict)
	}
	require.Equal(t, 1, won)
}

func intentRestart(t *testing.T, f EnrollmentStoreFixture) {
	created := createIntent(t, f.Store, "pi-1")
	f.Restart(t)
	var got domain.EnrollmentIntent
	var err error
	untilReachable(t, func() error {
		got, err = f.Store.Get(t.Context(), "pi-1")
		return err
	})
	require.Equal(t, created, got)
	untilReachable(t, func() error {
		_, err := f.Store.Update(t.Context(), got)
		if errors.Is(err, domain.ErrConflict) {
			return nil // an update whose answer was lost
		}
		return err
	})
}

func intentStored(t *testing.T, f EnrollmentStoreFixture) {
	created := createIntent(t, f.Store, "pi-1")
	want, err := contracts.Encode(created.Record())
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(f.Stored(t, "pi-1")))
}

func intentEnded(t *testing.T, f EnrollmentStoreFixture) {
	createIntent(t, f.Store, "pi-1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.Store.Get(ctx, "pi-1")
	require.Error(t, err)
	require.NotErrorIs(t, err, domain.ErrNotFound)
	_, err = f.Store.List(ctx)
	require.Error(t, err)
}
