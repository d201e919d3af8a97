package nats

import (
	"context"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DeploymentStore is the domain.DeploymentStore in the bucket "deployments".
type DeploymentStore struct {
	bucket *bucket
}

var _ domain.DeploymentStore = (*DeploymentStore)(nil)

// NewDeploymentStore returns a deployment store over conn.
func NewDeploymentStore(conn *Conn) *DeploymentStore {
	return &DeploymentStore{bucket: newBucket(conn, contracts.BucketDeployments)}
}

// Get implements domain.DeploymentStore.
func (d *DeploymentStore) Get(ctx context.Context, name contracts.DeploymentName) (domain.FleetDeployment, error) {
	if err := checkDeployment(name); err != nil {
		return domain.FleetDeployment{}, err
	}
	data, revision, err := d.bucket.get(ctx, string(name))
	if err != nil {
		return domain.FleetDeployment{}, translate(err, "deployment %q", name)
	}
	return decodeDeployment(data, revision)
}

// Create implements domain.DeploymentStore.
func (d *DeploymentStore) Create(ctx context.Context, deployment domain.FleetDeployment) (domain.FleetDeployment, error) {
	if err := checkDeployment(deployment.Name); err != nil {
		return domain.FleetDeployment{}, err
	}
	past, err := d.bucket.history(ctx, string(deployment.Name))
	if err != nil {
		return domain.FleetDeployment{}, translate(err, "create deployment %q", deployment.Name)
	}
	deployment.Generation = 1
	deployment.Revision = 0
	if len(past) > 0 {
		last := past[len(past)-1]
		if !isDeletion(last.header) {
			return domain.FleetDeployment{}, domain.Errorf(domain.ErrAlreadyExists, "deployment %q exists already", deployment.Name)
		}
		deployment.Generation = lastGeneration(past) + 1
		deployment.Revision = domain.Revision(last.sequence)
	}
	deployment.CreatedAt = time.Now().UTC()
	deployment.UpdatedAt = deployment.CreatedAt
	stored, err := d.replace(ctx, deployment)
	if isWrongRevision(err) {
		return domain.FleetDeployment{}, domain.WrapError(domain.ErrAlreadyExists, err, "deployment %q was created meanwhile", deployment.Name)
	}
	return stored, translate(err, "create deployment %q", deployment.Name)
}

// Update implements domain.DeploymentStore.
func (d *DeploymentStore) Update(ctx context.Context, deployment domain.FleetDeployment) (domain.FleetDeployment, error) {
	current, err := d.Get(ctx, deployment.Name)
	if err != nil {
		return domain.FleetDeployment{}, err
	}
	if current.Revision != deployment.Revision {
		return domain.FleetDeployment{}, domain.Errorf(domain.ErrConflict,
			"deployment %q: revision %d is stored, not %d: read it again", deployment.Name, current.Revision, deployment.Revision)
	}
	deployment.Generation = current.Generation + 1
	deployment.CreatedAt = current.CreatedAt
	deployment.UpdatedAt = time.Now().UTC()
	stored, err := d.replace(ctx, deployment)
	return stored, translate(err, "update deployment %q", deployment.Name)
}

// replace stores the deployment over deployment.Revision.
func (d *DeploymentStore) replace(ctx context.Context, deployment domain.FleetDeployment) (domain.FleetDeployment, error) {
	data, err := contracts.Encode(deployment.Record())
	if err != nil {
		return domain.FleetDeployment{}, domain.WrapError(domain.ErrInvalid, err, "deployment %q", deployment.Name)
	}
	deployment.Revision, err = d.bucket.replace(ctx, string(deployment.Name), data, deployment.Revision)
	if err != nil {
		return domain.FleetDeployment{}, err
	}
	return deployment, nil
}

// Delete implements domain.DeploymentStore.
func (d *DeploymentStore) Delete(ctx context.Context, name contracts.DeploymentName, revision domain.Revision) error {
	if err := checkDeployment(name); err != nil {
		return err
	}
	return translate(d.bucket.remove(ctx, string(name), revision), "delete deployment %q", name)
}

// Watch implements domain.DeploymentStore.
func (d *DeploymentStore) Watch(ctx context.Context, after domain.Revision, handle func(domain.DeploymentChange) error) error {
	return watchBucket(ctx, d.bucket, after, decodeDeployment, handle)
}

// History implements domain.DeploymentStore.
func (d *DeploymentStore) History(ctx context.Context, name contracts.DeploymentName) ([]domain.FleetDeployment, error) {
	if err := checkDeployment(name); err != nil {
		return nil, err
	}
	past, err := d.bucket.history(ctx, string(name))
	if err != nil {
		return nil, translate(err, "history of deployment %q", name)
	}
	var all []domain.FleetDeployment
	for _, message := range past {
		if isDeletion(message.header) {
			all = nil
			continue
		}
		deployment, err := decodeDeployment(message.data, domain.Revision(message.sequence))
		if err != nil {
			return nil, err
		}
		all = append(all, deployment)
	}
	if len(all) == 0 {
		return nil, domain.Errorf(domain.ErrNotFound, "deployment %q: not found", name)
	}
	return all, nil
}

// lastGeneration is the highest generation that is still kept.
func lastGeneration(past []stored) uint64 {
	var last uint64
	for _, message := range past {
		if isDeletion(message.header) {
			continue
		}
		if record, err := contracts.Decode[contracts.DeploymentRecord](message.data); err == nil {
			last = max(last, record.Generation)
		}
	}
	return last
}

func decodeDeployment(data []byte, revision domain.Revision) (domain.FleetDeployment, error) {
	record, err := contracts.Decode[contracts.DeploymentRecord](data)
	if err != nil {
		return domain.FleetDeployment{}, domain.WrapError(domain.ErrInvalid, err, "stored deployment")
	}
	return domain.DeploymentFromRecord(record, revision), nil
}

// checkDeployment refuses what is not a deployment's name: it would become a
// subject.
func checkDeployment(name contracts.DeploymentName) error {
	return domain.WrapError(domain.ErrInvalid, name.Validate(), "deployment %q", name)
}
