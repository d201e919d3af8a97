package nats

import (
	"context"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DeploymentStatusStore is the domain.DeploymentStatusStore in the bucket
// "deployment-status".
type DeploymentStatusStore struct {
	bucket *bucket
}

var _ domain.DeploymentStatusStore = (*DeploymentStatusStore)(nil)

// NewDeploymentStatusStore returns a status store over conn.
func NewDeploymentStatusStore(conn *Conn) *DeploymentStatusStore {
	return &DeploymentStatusStore{bucket: newBucket(conn, contracts.BucketDeploymentStatus)}
}

// Get implements domain.DeploymentStatusStore.
func (s *DeploymentStatusStore) Get(ctx context.Context, name contracts.DeploymentName) (contracts.DeploymentStatus, error) {
	if err := checkDeployment(name); err != nil {
		return contracts.DeploymentStatus{}, err
	}
	data, revision, err := s.bucket.get(ctx, string(name))
	if err != nil {
		return contracts.DeploymentStatus{}, translate(err, "status of deployment %q", name)
	}
	return decodeStatus(data, revision)
}

// Put implements domain.DeploymentStatusStore.
func (s *DeploymentStatusStore) Put(ctx context.Context, name contracts.DeploymentName, status contracts.DeploymentStatus) error {
	if err := checkDeployment(name); err != nil {
		return err
	}
	data, err := contracts.Encode(status)
	if err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "status of deployment %q", name)
	}
	return translate(s.bucket.put(ctx, string(name), data), "store status of deployment %q", name)
}

// Delete implements domain.DeploymentStatusStore.
func (s *DeploymentStatusStore) Delete(ctx context.Context, name contracts.DeploymentName) error {
	if err := checkDeployment(name); err != nil {
		return err
	}
	return translate(s.bucket.delete(ctx, string(name)), "delete status of deployment %q", name)
}

// Watch implements domain.DeploymentStatusStore.
func (s *DeploymentStatusStore) Watch(ctx context.Context, after domain.Revision, handle func(domain.StatusChange) error) error {
	return watchBucket(ctx, s.bucket, after, decodeStatus, handle)
}

func decodeStatus(data []byte, _ domain.Revision) (contracts.DeploymentStatus, error) {
	status, err := contracts.Decode[contracts.DeploymentStatus](data)
	return status, domain.WrapError(domain.ErrInvalid, err, "stored status")
}
