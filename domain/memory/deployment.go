package memory

import (
	"context"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DeploymentStore implements domain.DeploymentStore.
type DeploymentStore struct{ fleet *Fleet }

var _ domain.DeploymentStore = (*DeploymentStore)(nil)

// Deployments returns the store of deployments.
func (f *Fleet) Deployments() *DeploymentStore { return &DeploymentStore{fleet: f} }

// Get implements domain.DeploymentStore.
func (s *DeploymentStore) Get(ctx context.Context, name contracts.DeploymentName) (domain.FleetDeployment, error) {
	if err := s.fleet.reach(ctx); err != nil {
		return domain.FleetDeployment{}, err
	}
	stored := s.fleet.deployments.get(name)
	if !stored.exists {
		return domain.FleetDeployment{}, notFound("deployment", name)
	}
	stored.value.Revision = stored.revision
	return stored.value, nil
}

// Create implements domain.DeploymentStore.
func (s *DeploymentStore) Create(ctx context.Context, deployment domain.FleetDeployment) (domain.FleetDeployment, error) {
	return s.put(ctx, deployment, func(current held[domain.FleetDeployment], now time.Time) (time.Time, error) {
		return now, checkFree("deployment", deployment.Name, current.exists)
	})
}

// Update implements domain.DeploymentStore.
func (s *DeploymentStore) Update(ctx context.Context, deployment domain.FleetDeployment) (domain.FleetDeployment, error) {
	return s.put(ctx, deployment, func(current held[domain.FleetDeployment], _ time.Time) (time.Time, error) {
		err := checkRevision("deployment", deployment.Name, current.exists, current.revision, deployment.Revision)
		return current.value.CreatedAt, err
	})
}

// put stores the deployment with the next generation. check returns the time
// of its creation.
func (s *DeploymentStore) put(ctx context.Context, deployment domain.FleetDeployment, check func(held[domain.FleetDeployment], time.Time) (time.Time, error)) (domain.FleetDeployment, error) {
	if err := s.fleet.reach(ctx); err != nil {
		return domain.FleetDeployment{}, err
	}
	stored, err := s.fleet.deployments.put(deployment.Name, func(current held[domain.FleetDeployment]) (domain.FleetDeployment, error) {
		now := time.Now().UTC()
		created, err := check(current, now)
		if err != nil {
			return domain.FleetDeployment{}, err
		}
		deployment.Generation = current.value.Generation + 1
		deployment.CreatedAt, deployment.UpdatedAt = created, now
		return deployment, domain.WrapError(domain.ErrInvalid, deployment.Record().Validate(), "deployment %q", deployment.Name)
	})
	if err != nil {
		return domain.FleetDeployment{}, err
	}
	stored.value.Revision = stored.revision
	return stored.value, nil
}

// Delete implements domain.DeploymentStore.
func (s *DeploymentStore) Delete(ctx context.Context, name contracts.DeploymentName, revision domain.Revision) error {
	if err := s.fleet.reach(ctx); err != nil {
		return err
	}
	return s.fleet.deployments.delete(name, func(current held[domain.FleetDeployment]) error {
		return checkRevision("deployment", name, current.exists, current.revision, revision)
	})
}

// Watch implements domain.DeploymentStore.
func (s *DeploymentStore) Watch(ctx context.Context, after domain.Revision, handle func(domain.DeploymentChange) error) error {
	return watch(ctx, s.fleet, s.fleet.deployments, after, func(change domain.DeploymentChange) error {
		if change.Kind == domain.ChangePut {
			change.Value.Revision = change.Revision
		}
		return handle(change)
	})
}

// History implements domain.DeploymentStore.
func (s *DeploymentStore) History(ctx context.Context, name contracts.DeploymentName) ([]domain.FleetDeployment, error) {
	if err := s.fleet.reach(ctx); err != nil {
		return nil, err
	}
	versions := s.fleet.deployments.history(name)
	if len(versions) == 0 {
		return nil, notFound("deployment", name)
	}
	history := make([]domain.FleetDeployment, len(versions))
	for i, version := range versions {
		history[i] = version.value
		history[i].Revision = version.revision
	}
	return history, nil
}
