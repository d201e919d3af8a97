package zitadelsetup

import (
	"cmp"
	"context"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	adapter "github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/zitadel"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	smokeTimeout = time.Minute
	// callTimeout bounds a call of Zitadel's API.
	callTimeout = 10 * time.Second
)

// Cluster is what the Score needs of a topology.
type Cluster interface {
	kube.Cluster
	kube.Objects
	kube.Forwards
}

// FleetZitadelSetupScore is a fleet at a Zitadel that runs: the project with its
// roles, the API application, and the operator, a service user that may manage
// users and nothing else. The operator's key is made here and kept in a Secret;
// Zitadel sees its public half. What others need to know is in a ConfigMap, and
// what Identity returns.
type FleetZitadelSetupScore struct {
	// Issuer is Zitadel's URL exactly as it names itself; needed.
	Issuer string
	// Namespace is where the Secret and the ConfigMap are, and Zitadel, unless it
	// is External; "fleet" by default.
	Namespace string
	// Service is that of Zitadel, which is reached by a forward to one of its
	// pods; "zitadel" by default.
	Service string
	// External reaches Zitadel by its URL instead, wherever it is.
	External bool
	// AdminToken is the personal access token of an owner of the organization.
	// Without it, it is taken from AdminSecret, that of the chart by default.
	AdminToken  []byte
	AdminSecret string
	// OrganizationID is the instance's default organization by default.
	OrganizationID string
	// Project is "fleet" by default.
	Project string
	// DevicePrefix is what the user IDs of the fleet's devices begin with; "fleet-"
	// by default. Each fleet at a Zitadel has its own.
	DevicePrefix verifier.DevicePrefix
}

var _ deploy.Score[Cluster] = (*FleetZitadelSetupScore)(nil)

// Name implements deploy.Score.
func (s *FleetZitadelSetupScore) Name() string { return "zitadel setup" }

func (s *FleetZitadelSetupScore) namespace() string { return cmp.Or(s.Namespace, "fleet") }
func (s *FleetZitadelSetupScore) service() string   { return cmp.Or(s.Service, "zitadel") }
func (s *FleetZitadelSetupScore) adminSecret() string {
	return cmp.Or(s.AdminSecret, zitadel.AdminTokenSecret)
}
func (s *FleetZitadelSetupScore) project() string { return cmp.Or(s.Project, "fleet") }

func (s *FleetZitadelSetupScore) prefix() verifier.DevicePrefix {
	return cmp.Or(s.DevicePrefix, "fleet-")
}

func (s *FleetZitadelSetupScore) check() error {
	issuer, err := url.Parse(s.Issuer)
	if err != nil || issuer.Host == "" || (issuer.Scheme != "https" && issuer.Scheme != "http") || issuer.Path != "" {
		return domain.Errorf(domain.ErrInvalid, `issuer: %q is not a URL such as "https://sso.example", without a slash at its end`, s.Issuer)
	}
	for _, name := range []string{s.namespace(), s.service()} {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			return domain.Errorf(domain.ErrInvalid, "name %q: %s", name, problems[0])
		}
	}
	if problems := validation.IsDNS1123Subdomain(s.adminSecret()); len(problems) > 0 {
		return domain.Errorf(domain.ErrInvalid, "adminSecret %q: %s", s.adminSecret(), problems[0])
	}
	return s.prefix().Validate()
}

// Resources implements deploy.Score.
func (s *FleetZitadelSetupScore) Resources(topology Cluster) ([]deploy.Resource, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	resources := []deploy.Resource{
		kube.Requirement{Cluster: topology},
		&kube.Namespace{Objects: topology, Name: s.namespace()},
	}
	for _, name := range partNames() {
		resources = append(resources, &part{score: s, topology: topology, name: name})
	}
	return append(resources, &key{score: s, topology: topology}, &facts{score: s, topology: topology}), nil
}

// Smoke implements deploy.Score: with the key of the Secret the operator gets a
// token that carries its role, and sees the project.
func (s *FleetZitadelSetupScore) Smoke(ctx context.Context, topology Cluster, progress deploy.Progress) error {
	err := deploy.Until(ctx, smokeTimeout, progress, func(ctx context.Context) error { return s.prove(ctx, topology) })
	return deploy.WithNext(err, "look at the operator's user %q at %s: it must be active, with a role in the project %q", s.prefix().OperatorID(), s.Issuer, s.project())
}

func (s *FleetZitadelSetupScore) prove(ctx context.Context, topology Cluster) error {
	identity, err := s.Identity(ctx, topology)
	if err != nil {
		return err
	}
	stored, err := readKey(ctx, topology, s.namespace(), KeySecret)
	if err != nil {
		return err
	}
	return s.reach(ctx, topology, func(through string) error {
		provider, err := adapter.New(ctx, adapter.Config{
			Issuer: identity.Issuer, OrganizationID: identity.OrganizationID, ProjectID: identity.ProjectID,
			DevicePrefix: identity.DevicePrefix, Key: stored,
		}, adapter.Options{Through: through, CallTimeout: callTimeout})
		if err != nil {
			return err
		}
		return closing(provider.Check(ctx), provider.Close())
	})
}
