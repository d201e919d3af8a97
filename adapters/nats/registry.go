package nats

import (
	"context"
	"slices"
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DeviceRegistry is the domain.DeviceRegistry in the bucket "devices".
type DeviceRegistry struct {
	bucket *bucket
}

var _ domain.DeviceRegistry = (*DeviceRegistry)(nil)

// NewDeviceRegistry returns a registry over conn.
func NewDeviceRegistry(conn *Conn) *DeviceRegistry {
	return &DeviceRegistry{bucket: newBucket(conn, contracts.BucketDevices)}
}

// Get implements domain.DeviceRegistry.
func (r *DeviceRegistry) Get(ctx context.Context, id contracts.DeviceID) (domain.FleetDevice, error) {
	if err := checkDevice(id); err != nil {
		return domain.FleetDevice{}, err
	}
	data, revision, err := r.bucket.get(ctx, string(id))
	if err != nil {
		return domain.FleetDevice{}, translate(err, "device %q", id)
	}
	return decodeDevice(data, revision)
}

// List implements domain.DeviceRegistry.
func (r *DeviceRegistry) List(ctx context.Context, selector contracts.LabelSelector) ([]domain.FleetDevice, error) {
	var found []domain.FleetDevice
	err := r.Watch(ctx, 0, func(change domain.DeviceChange) error {
		switch change.Kind {
		case domain.ChangePut:
			found = append(found, change.Value)
		case domain.ChangeDeleted:
			found = slices.DeleteFunc(found, func(d domain.FleetDevice) bool { return d.ID == change.Key })
		case domain.ChangeCaughtUp:
			return errCaughtUp
		}
		return nil
	})
	if err := caughtUpOr(ctx, err); err != nil {
		return nil, err
	}
	return latestMatching(found, selector), nil
}

// latestMatching keeps the last version of each device, those that match,
// sorted. Versions come in order, several when they changed during the reading.
func latestMatching(devices []domain.FleetDevice, selector contracts.LabelSelector) []domain.FleetDevice {
	slices.SortStableFunc(devices, func(a, b domain.FleetDevice) int {
		return strings.Compare(string(a.ID), string(b.ID))
	})
	kept := devices[:0]
	for i, device := range devices {
		if i+1 < len(devices) && devices[i+1].ID == device.ID {
			continue
		}
		if selector.Matches(device.Labels) {
			kept = append(kept, device)
		}
	}
	return kept
}

// Create implements domain.DeviceRegistry.
func (r *DeviceRegistry) Create(ctx context.Context, device domain.FleetDevice) (domain.FleetDevice, error) {
	data, err := encodeDevice(device)
	if err != nil {
		return domain.FleetDevice{}, err
	}
	device.Revision, err = r.bucket.create(ctx, string(device.ID), data)
	if err != nil {
		return domain.FleetDevice{}, translate(err, "create device %q", device.ID)
	}
	return device, nil
}

// Update implements domain.DeviceRegistry.
func (r *DeviceRegistry) Update(ctx context.Context, device domain.FleetDevice) (domain.FleetDevice, error) {
	data, err := encodeDevice(device)
	if err != nil {
		return domain.FleetDevice{}, err
	}
	device.Revision, err = r.bucket.update(ctx, string(device.ID), data, device.Revision)
	if err != nil {
		return domain.FleetDevice{}, translate(err, "update device %q", device.ID)
	}
	return device, nil
}

// Delete implements domain.DeviceRegistry.
func (r *DeviceRegistry) Delete(ctx context.Context, id contracts.DeviceID, revision domain.Revision) error {
	if err := checkDevice(id); err != nil {
		return err
	}
	return translate(r.bucket.remove(ctx, string(id), revision), "delete device %q", id)
}

// Watch implements domain.DeviceRegistry.
func (r *DeviceRegistry) Watch(ctx context.Context, after domain.Revision, handle func(domain.DeviceChange) error) error {
	return watchBucket(ctx, r.bucket, after, decodeDevice, handle)
}

func encodeDevice(device domain.FleetDevice) ([]byte, error) {
	if err := device.Validate(); err != nil {
		return nil, err
	}
	data, err := contracts.Encode(device.Record())
	return data, domain.WrapError(domain.ErrInvalid, err, "device %q", device.ID)
}

func decodeDevice(data []byte, revision domain.Revision) (domain.FleetDevice, error) {
	record, err := contracts.Decode[contracts.DeviceRecord](data)
	if err != nil {
		return domain.FleetDevice{}, domain.WrapError(domain.ErrInvalid, err, "stored device")
	}
	return domain.DeviceFromRecord(record, revision), nil
}

// checkDevice refuses what is not a device ID: it would become a subject.
func checkDevice(id contracts.DeviceID) error {
	return domain.WrapError(domain.ErrInvalid, id.Validate(), "device %q", id)
}
