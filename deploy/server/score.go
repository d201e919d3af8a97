package server

import (
	"cmp"
	"context"

	adapter "github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/callout"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/deploy/operator"
	"github.com/nationtech/harmony-fleet/deploy/zitadel"
	"github.com/nationtech/harmony-fleet/deploy/zitadelsetup"
	"github.com/nationtech/harmony-fleet/domain"
)

// Cluster is what the Score needs of a topology.
type Cluster interface {
	kube.Cluster
	kube.Releases
	kube.Forwards
}

// FleetServerScore is the server side of a fleet, in order: the keys, the broker,
// Zitadel, the fleet at Zitadel, the operator, and the callout, which is ready once
// an operator has made the fleet's buckets. Parts that are nil are elsewhere, or
// not wanted. What a part leaves empty and another knows is taken from there:
// namespace, devices, image, URLs, authorities, public keys, IDs and the names of
// Secrets.
type FleetServerScore struct {
	// Namespace is that of all parts; "fleet" by default.
	Namespace string
	// Devices is how many there will be.
	Devices int
	// Image is that of fleet-operator, for the operator and the callout; best with
	// its digest.
	Image string
	// Operators are the public nkeys of people and tools that have the operator's
	// rights at the broker, when the callout says who may connect.
	Operators []string

	Nats     *nats.FleetNatsScore
	Zitadel  *zitadel.FleetZitadelScore
	Setup    *zitadelsetup.FleetZitadelSetupScore
	Operator *operator.FleetOperatorScore
	Callout  *callout.FleetCalloutScore
}

var _ deploy.Score[Cluster] = (*FleetServerScore)(nil)

// Name implements deploy.Score.
func (s *FleetServerScore) Name() string { return "server" }

func (s *FleetServerScore) namespace() string { return cmp.Or(s.Namespace, "fleet") }

// Resources implements deploy.Score.
func (s *FleetServerScore) Resources(topology Cluster) ([]deploy.Resource, error) {
	parts, err := s.parts(topology)
	if err != nil {
		return nil, err
	}
	return deploy.Join(parts...)
}

// Smoke implements deploy.Score: that of each part.
func (s *FleetServerScore) Smoke(ctx context.Context, topology Cluster, progress deploy.Progress) error {
	parts, err := s.parts(topology)
	if err != nil {
		return err
	}
	return deploy.SmokeAll(ctx, progress, parts...)
}

// parts are the Scores with each other's output, in order.
func (s *FleetServerScore) parts(topology Cluster) ([]deploy.Part, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	w := s.wire(topology)
	if w.Callout != nil && w.Setup == nil && !complete(w.Callout.Identity) {
		return nil, domain.Errorf(domain.ErrInvalid, "callout: identity: describe zitadel or zitadelSetup as well, or write all of it: issuer, organization, project, device prefix and the key of the service user")
	}
	var parts []deploy.Part
	if w.Callout != nil {
		parts = append(parts, deploy.PartOf[Cluster]("keys", keys{w.Callout}, topology))
	}
	if w.Nats != nil {
		parts = append(parts, deploy.PartOf[nats.Cluster]("nats", w.Nats, topology))
	}
	if w.Zitadel != nil {
		parts = append(parts, deploy.PartOf[zitadel.Cluster]("zitadel", w.Zitadel, topology))
	}
	if w.Setup != nil {
		parts = append(parts, deploy.PartOf[zitadelsetup.Cluster]("zitadelSetup", w.Setup, topology))
	}
	if w.Operator != nil {
		parts = append(parts, deploy.PartOf[operator.Cluster]("operator", w.Operator, topology))
	}
	if w.Callout != nil {
		parts = append(parts, deploy.PartOf[callout.Cluster]("callout", w.Callout, topology))
	}
	return parts, nil
}

func complete(i callout.Identity) bool {
	return i.Issuer != "" && i.Organization != "" && i.Project != "" && i.DevicePrefix != "" && (len(i.ServiceKey) > 0 || i.ServiceKeySecret != "")
}

func (s *FleetServerScore) check() error {
	switch {
	case s.Nats == nil && s.Zitadel == nil && s.Setup == nil && s.Operator == nil && s.Callout == nil:
		return domain.Errorf(domain.ErrInvalid, "it has no part: describe at least one")
	case s.Nats != nil && s.Callout != nil && s.Nats.Admission != nil:
		return domain.Errorf(domain.ErrInvalid, "nats: the callout says who may connect: leave users and public keys out, or the callout")
	case s.Callout == nil && len(s.Operators) > 0:
		return domain.Errorf(domain.ErrInvalid, "operators: without the callout the broker's own admission says who they are")
	case s.Callout != nil && s.Operator != nil && s.Operator.User != "":
		return domain.Errorf(domain.ErrInvalid, "operator: a broker with the callout knows it by a key: leave user and password out")
	case s.Callout != nil && s.Operator != nil && len(s.Operator.NKey) > 0 && len(s.Callout.OperatorNKey) > 0:
		return domain.Errorf(domain.ErrInvalid, "operator: operator and callout share a key: give it once")
	}
	if s.Callout != nil && s.Operator != nil && len(s.Operator.NKey) > 0 {
		if _, err := adapter.PublicKey(s.Operator.NKey, adapter.UserKey); err != nil {
			return domain.WrapError(domain.ErrInvalid, err, "operator: its key at the broker")
		}
	}
	for _, key := range s.Operators {
		if !adapter.IsPublicKey(key, adapter.UserKey) {
			return domain.Errorf(domain.ErrInvalid, "callout: operators: %q is not the public nkey of a user", key)
		}
	}
	return nil
}

// keys are those that the broker must know before it admits anybody.
type keys struct{ callout *callout.FleetCalloutScore }

func (keys) Name() string { return "keys" }

func (k keys) Resources(topology Cluster) ([]deploy.Resource, error) {
	resources := []deploy.Resource{
		kube.Requirement{Cluster: topology},
		&kube.Namespace{Objects: topology, Name: k.callout.Namespace},
	}
	return append(resources, k.callout.KeyResources(topology)...), nil
}

// Smoke has nothing to prove: the broker and the callout use them.
func (keys) Smoke(context.Context, Cluster, deploy.Progress) error { return nil }
