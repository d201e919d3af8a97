package memory

import (
	"context"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DeploymentStatusStore implements domain.DeploymentStatusStore.
type DeploymentStatusStore struct{ fleet *Fleet }

var _ domain.DeploymentStatusStore = (*DeploymentStatusStore)(nil)

// Statuses returns the store of deployment statuses.
func (f *Fleet) Statuses() *DeploymentStatusStore { return &DeploymentStatusStore{fleet: f} }

// Get implements domain.DeploymentStatusStore.
func (s *DeploymentStatusStore) Get(ctx context.Context, name contracts.DeploymentName) (contracts.DeploymentStatus, error) {
	if err := s.fleet.reach(ctx); err != nil {
		return contracts.DeploymentStatus{}, err
	}
	stored := s.fleet.statuses.get(name)
	if !stored.exists {
		return contracts.DeploymentStatus{}, notFound("status of deployment", name)
	}
	return stored.value, nil
}

// Put implements domain.DeploymentStatusStore. A status that does not validate
// gives ErrInvalid.
func (s *DeploymentStatusStore) Put(ctx context.Context, name contracts.DeploymentName, status contracts.DeploymentStatus) error {
	if err := s.fleet.reach(ctx); err != nil {
		return err
	}
	if err := status.Validate(); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "status of deployment %q", name)
	}
	_, err := s.fleet.statuses.put(name, func(held[contracts.DeploymentStatus]) (contracts.DeploymentStatus, error) {
		return status, nil
	})
	return err
}

// Delete implements domain.DeploymentStatusStore.
func (s *DeploymentStatusStore) Delete(ctx context.Context, name contracts.DeploymentName) error {
	if err := s.fleet.reach(ctx); err != nil {
		return err
	}
	return s.fleet.statuses.delete(name, func(held[contracts.DeploymentStatus]) error { return nil })
}

// Watch implements domain.DeploymentStatusStore.
func (s *DeploymentStatusStore) Watch(ctx context.Context, after domain.Revision, handle func(domain.StatusChange) error) error {
	return watch(ctx, s.fleet, s.fleet.statuses, after, handle)
}
