package nats

import (
	"context"
	"maps"
	"slices"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// EnrollmentStore is the domain.EnrollmentStore in the bucket "enrollments".
type EnrollmentStore struct {
	bucket *bucket
}

var _ domain.EnrollmentStore = (*EnrollmentStore)(nil)

// NewEnrollmentStore returns a store over conn.
func NewEnrollmentStore(conn *Conn) *EnrollmentStore {
	return &EnrollmentStore{bucket: newBucket(conn, contracts.BucketEnrollments)}
}

// Get implements domain.EnrollmentStore.
func (s *EnrollmentStore) Get(ctx context.Context, device contracts.DeviceID) (domain.EnrollmentIntent, error) {
	if err := checkDevice(device); err != nil {
		return domain.EnrollmentIntent{}, err
	}
	data, revision, err := s.bucket.get(ctx, string(device))
	if err != nil {
		return domain.EnrollmentIntent{}, translate(err, "enrollment of device %q", device)
	}
	return decodeIntent(data, revision)
}

// List implements domain.EnrollmentStore.
func (s *EnrollmentStore) List(ctx context.Context) ([]domain.EnrollmentIntent, error) {
	found := map[contracts.DeviceID]domain.EnrollmentIntent{}
	err := watchBucket(ctx, s.bucket, 0, decodeIntent, func(change domain.Change[contracts.DeviceID, domain.EnrollmentIntent]) error {
		switch change.Kind {
		case domain.ChangePut:
			found[change.Key] = change.Value
		case domain.ChangeDeleted:
			delete(found, change.Key)
		case domain.ChangeCaughtUp:
			return errCaughtUp
		}
		return nil
	})
	if err := caughtUpOr(ctx, err); err != nil {
		return nil, err
	}
	intents := make([]domain.EnrollmentIntent, 0, len(found))
	for _, device := range slices.Sorted(maps.Keys(found)) {
		intents = append(intents, found[device])
	}
	return intents, nil
}

// Create implements domain.EnrollmentStore.
func (s *EnrollmentStore) Create(ctx context.Context, intent domain.EnrollmentIntent) (domain.EnrollmentIntent, error) {
	data, err := encodeIntent(intent)
	if err != nil {
		return domain.EnrollmentIntent{}, err
	}
	intent.Revision, err = s.bucket.create(ctx, string(intent.Device), data)
	if err != nil {
		return domain.EnrollmentIntent{}, translate(err, "create the enrollment of device %q", intent.Device)
	}
	return intent, nil
}

// Update implements domain.EnrollmentStore.
func (s *EnrollmentStore) Update(ctx context.Context, intent domain.EnrollmentIntent) (domain.EnrollmentIntent, error) {
	data, err := encodeIntent(intent)
	if err != nil {
		return domain.EnrollmentIntent{}, err
	}
	intent.Revision, err = s.bucket.update(ctx, string(intent.Device), data, intent.Revision)
	if err != nil {
		return domain.EnrollmentIntent{}, translate(err, "update the enrollment of device %q", intent.Device)
	}
	return intent, nil
}

func encodeIntent(intent domain.EnrollmentIntent) ([]byte, error) {
	if err := intent.Validate(); err != nil {
		return nil, err
	}
	data, err := contracts.Encode(intent.Record())
	return data, domain.WrapError(domain.ErrInvalid, err, "enrollment of device %q", intent.Device)
}

func decodeIntent(data []byte, revision domain.Revision) (domain.EnrollmentIntent, error) {
	record, err := contracts.Decode[contracts.EnrollmentIntent](data)
	if err != nil {
		return domain.EnrollmentIntent{}, domain.WrapError(domain.ErrInvalid, err, "stored enrollment")
	}
	return domain.EnrollmentFromRecord(record, revision), nil
}
