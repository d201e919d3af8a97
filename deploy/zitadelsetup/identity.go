package zitadelsetup

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	adapter "github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// ConfigMap is the name of the ConfigMap that says where the fleet's identities
// are. It holds no secret.
const ConfigMap = "fleet-identity"

// Identity is what others need to know of a fleet at Zitadel.
type Identity struct {
	Issuer         string
	OrganizationID string
	ProjectID      string
	DevicePrefix   verifier.DevicePrefix
	// KeySecret, in the Score's namespace, has the operator's key under KeyFile.
	KeySecret string
}

// Identity returns what was set up: domain.ErrNotFound as long as it was not.
func (s *FleetZitadelSetupScore) Identity(ctx context.Context, objects kube.Objects) (Identity, error) {
	live, err := objects.Get(ctx, s.configMap(Identity{}))
	if err != nil {
		return Identity{}, err
	}
	data, _, err := unstructured.NestedStringMap(live.Object, "data")
	if err != nil {
		return Identity{}, domain.WrapError(domain.ErrInvalid, err, "ConfigMap %s/%s", s.namespace(), ConfigMap)
	}
	return Identity{
		Issuer: data["issuer"], OrganizationID: data["organization"], ProjectID: data["project"],
		DevicePrefix: verifier.DevicePrefix(data["devicePrefix"]), KeySecret: data["keySecret"],
	}, nil
}

func (s *FleetZitadelSetupScore) configMap(identity Identity) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"namespace": s.namespace(), "name": ConfigMap},
		"data": map[string]any{
			"issuer": identity.Issuer, "organization": identity.OrganizationID, "project": identity.ProjectID,
			"devicePrefix": string(identity.DevicePrefix), "keySecret": identity.KeySecret,
		},
	}}
}

// facts is the ConfigMap. It is the last resource: with it, all others are there.
type facts struct {
	score    *FleetZitadelSetupScore
	topology Cluster
}

var _ deploy.Resource = (*facts)(nil)

func (f *facts) object(identity Identity) *kube.Object {
	return &kube.Object{Objects: f.topology, Object: f.score.configMap(identity)}
}

// ID implements deploy.Resource.
func (f *facts) ID() string { return f.object(Identity{}).ID() }

// describe asks Zitadel for the IDs.
func (f *facts) describe(ctx context.Context) (*kube.Object, error) {
	var found adapter.SetupResult
	err := f.score.administer(ctx, f.topology, func(setup *adapter.FleetSetup) (err error) {
		found, err = setup.Find(ctx)
		return err
	})
	if err == nil && found.ProjectID == "" {
		err = domain.WrapError(domain.ErrNotFound, errNoZitadel, "no project %q", f.score.project())
	}
	return f.object(Identity{
		Issuer: f.score.Issuer, OrganizationID: found.OrganizationID, ProjectID: found.ProjectID,
		DevicePrefix: f.score.prefix(), KeySecret: KeySecret,
	}), err
}

// Plan implements deploy.Resource.
func (f *facts) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	if goal == deploy.Absent {
		return f.object(Identity{}).Plan(ctx, goal)
	}
	object, err := f.describe(ctx)
	if errors.Is(err, errNoZitadel) {
		return deploy.Change{Action: deploy.ActionCreate, Summary: "write down the IDs, once the project is there"}, nil
	}
	if err != nil {
		return deploy.Change{}, err
	}
	return object.Plan(ctx, goal)
}

// Apply implements deploy.Resource.
func (f *facts) Apply(ctx context.Context, goal deploy.Goal, progress deploy.Progress) error {
	if goal == deploy.Absent {
		return f.object(Identity{}).Apply(ctx, goal, progress)
	}
	object, err := f.describe(ctx)
	if err != nil {
		return err
	}
	return object.Apply(ctx, goal, progress)
}
