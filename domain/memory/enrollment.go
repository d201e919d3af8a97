package memory

import (
	"cmp"
	"context"
	"slices"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// EnrollmentStore implements domain.EnrollmentStore.
type EnrollmentStore struct{ fleet *Fleet }

var _ domain.EnrollmentStore = (*EnrollmentStore)(nil)

// Enrollments returns the store of enrollment intents.
func (f *Fleet) Enrollments() *EnrollmentStore { return &EnrollmentStore{fleet: f} }

// Get implements domain.EnrollmentStore.
func (s *EnrollmentStore) Get(ctx context.Context, device contracts.DeviceID) (domain.EnrollmentIntent, error) {
	if err := s.fleet.reach(ctx); err != nil {
		return domain.EnrollmentIntent{}, err
	}
	stored := s.fleet.enrollments.get(device)
	if !stored.exists {
		return domain.EnrollmentIntent{}, notFound("enrollment of device", device)
	}
	stored.value.Revision = stored.revision
	return stored.value, nil
}

// List implements domain.EnrollmentStore.
func (s *EnrollmentStore) List(ctx context.Context) ([]domain.EnrollmentIntent, error) {
	if err := s.fleet.reach(ctx); err != nil {
		return nil, err
	}
	var intents []domain.EnrollmentIntent
	for _, stored := range s.fleet.enrollments.list() {
		stored.Value.Revision = stored.Revision
		intents = append(intents, stored.Value)
	}
	slices.SortFunc(intents, func(a, b domain.EnrollmentIntent) int { return cmp.Compare(a.Device, b.Device) })
	return intents, nil
}

// Create implements domain.EnrollmentStore.
func (s *EnrollmentStore) Create(ctx context.Context, intent domain.EnrollmentIntent) (domain.EnrollmentIntent, error) {
	return s.put(ctx, intent, func(current held[domain.EnrollmentIntent]) error {
		return checkFree("enrollment of device", intent.Device, current.exists)
	})
}

// Update implements domain.EnrollmentStore.
func (s *EnrollmentStore) Update(ctx context.Context, intent domain.EnrollmentIntent) (domain.EnrollmentIntent, error) {
	return s.put(ctx, intent, func(current held[domain.EnrollmentIntent]) error {
		return checkRevision("enrollment of device", intent.Device, current.exists, current.revision, intent.Revision)
	})
}

func (s *EnrollmentStore) put(ctx context.Context, intent domain.EnrollmentIntent, check func(held[domain.EnrollmentIntent]) error) (domain.EnrollmentIntent, error) {
	if err := s.fleet.reach(ctx); err != nil {
		return domain.EnrollmentIntent{}, err
	}
	if err := intent.Validate(); err != nil {
		return domain.EnrollmentIntent{}, err
	}
	stored, err := s.fleet.enrollments.put(intent.Device, func(current held[domain.EnrollmentIntent]) (domain.EnrollmentIntent, error) {
		return intent, check(current)
	})
	if err != nil {
		return domain.EnrollmentIntent{}, err
	}
	stored.value.Revision = stored.revision
	return stored.value, nil
}
