package memory

import (
	"cmp"
	"context"
	"slices"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DeviceRegistry implements domain.DeviceRegistry.
type DeviceRegistry struct{ fleet *Fleet }

var _ domain.DeviceRegistry = (*DeviceRegistry)(nil)

// Devices returns the registry of devices.
func (f *Fleet) Devices() *DeviceRegistry { return &DeviceRegistry{fleet: f} }

// Get implements domain.DeviceRegistry.
func (r *DeviceRegistry) Get(ctx context.Context, id contracts.DeviceID) (domain.FleetDevice, error) {
	if err := r.fleet.reach(ctx); err != nil {
		return domain.FleetDevice{}, err
	}
	stored := r.fleet.devices.get(id)
	if !stored.exists {
		return domain.FleetDevice{}, notFound("device", id)
	}
	stored.value.Revision = stored.revision
	return stored.value, nil
}

// List implements domain.DeviceRegistry.
func (r *DeviceRegistry) List(ctx context.Context, selector contracts.LabelSelector) ([]domain.FleetDevice, error) {
	if err := r.fleet.reach(ctx); err != nil {
		return nil, err
	}
	var devices []domain.FleetDevice
	for _, stored := range r.fleet.devices.list() {
		if selector.Matches(stored.Value.Labels) {
			stored.Value.Revision = stored.Revision
			devices = append(devices, stored.Value)
		}
	}
	slices.SortFunc(devices, func(a, b domain.FleetDevice) int { return cmp.Compare(a.ID, b.ID) })
	return devices, nil
}

// Create implements domain.DeviceRegistry.
func (r *DeviceRegistry) Create(ctx context.Context, device domain.FleetDevice) (domain.FleetDevice, error) {
	return r.put(ctx, device, func(current held[domain.FleetDevice]) error {
		return checkFree("device", device.ID, current.exists)
	})
}

// Update implements domain.DeviceRegistry.
func (r *DeviceRegistry) Update(ctx context.Context, device domain.FleetDevice) (domain.FleetDevice, error) {
	return r.put(ctx, device, func(current held[domain.FleetDevice]) error {
		return checkRevision("device", device.ID, current.exists, current.revision, device.Revision)
	})
}

func (r *DeviceRegistry) put(ctx context.Context, device domain.FleetDevice, check func(held[domain.FleetDevice]) error) (domain.FleetDevice, error) {
	if err := r.fleet.reach(ctx); err != nil {
		return domain.FleetDevice{}, err
	}
	if err := device.Validate(); err != nil {
		return domain.FleetDevice{}, err
	}
	stored, err := r.fleet.devices.put(device.ID, func(current held[domain.FleetDevice]) (domain.FleetDevice, error) {
		return device, check(current)
	})
	if err != nil {
		return domain.FleetDevice{}, err
	}
	stored.value.Revision = stored.revision
	return stored.value, nil
}

// Delete implements domain.DeviceRegistry.
func (r *DeviceRegistry) Delete(ctx context.Context, id contracts.DeviceID, revision domain.Revision) error {
	if err := r.fleet.reach(ctx); err != nil {
		return err
	}
	return r.fleet.devices.delete(id, func(current held[domain.FleetDevice]) error {
		return checkRevision("device", id, current.exists, current.revision, revision)
	})
}

// Watch implements domain.DeviceRegistry.
func (r *DeviceRegistry) Watch(ctx context.Context, after domain.Revision, handle func(domain.DeviceChange) error) error {
	return watch(ctx, r.fleet, r.fleet.devices, after, func(change domain.DeviceChange) error {
		if change.Kind == domain.ChangePut {
			change.Value.Revision = change.Revision
		}
		return handle(change)
	})
}

// watch begins a watch of one of the fleet's stores.
func watch[K ~string, V any](ctx context.Context, fleet *Fleet, of *store[K, V], after domain.Revision, handle func(domain.Change[K, V]) error) error {
	if err := fleet.reach(ctx); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // a watch that is cancelled ends well
		}
		return err
	}
	return of.watch(ctx, after, handle)
}

func notFound[N ~string](what string, name N) error {
	return domain.Errorf(domain.ErrNotFound, "%s %q does not exist", what, name)
}

func checkFree[N ~string](what string, name N, exists bool) error {
	if exists {
		return domain.Errorf(domain.ErrAlreadyExists, "%s %q already exists", what, name)
	}
	return nil
}

func checkRevision[N ~string](what string, name N, exists bool, stored, given domain.Revision) error {
	switch {
	case !exists:
		return notFound(what, name)
	case stored != given:
		return domain.Errorf(domain.ErrConflict, "%s %q was changed meanwhile: revision %d is stored, not %d", what, name, stored, given)
	default:
		return nil
	}
}
