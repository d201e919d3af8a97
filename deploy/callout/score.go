package callout

import (
	"cmp"
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/charts"
	"github.com/nationtech/harmony-fleet/deploy/kube"
)

// Names of what the Score makes, and of the keys in its Secrets.
const (
	releaseName = "fleet-callout"
	// caSecret holds the authorities of the broker, and identitySecret the key of
	// the service user and the authorities of Zitadel.
	caSecret       = "fleet-callout-broker"
	identitySecret = "fleet-callout-identity" //nolint:gosec // a name
	approvals      = "fleet-callout-approvals"
	caKey          = "ca.pem"
	serialsKey     = "serials"
	machineIDsKey  = "machine-ids"
	// ServiceKeyKey is the usual name of the service user's key in its Secret.
	ServiceKeyKey = "service-key.json"
)

// Cluster is what the Score needs of a topology.
type Cluster interface {
	kube.Cluster
	kube.Releases
	kube.Forwards
}

// FleetCalloutScore is the auth callout in the namespace of its fleet: it admits
// clients to the broker, enrolls devices and keeps revoked ones out. It becomes
// ready once an operator has made the fleet's buckets at the broker, which must
// know the public halves of its keys: Admission has them.
type FleetCalloutScore struct {
	// Namespace is made when it is not there; "fleet" by default.
	Namespace string
	// Image is that of fleet-operator, which has the callout; best with its digest.
	Image string
	// Devices is how many there will be; needed. Replicas, 2 or 3 by default, and
	// the resources follow from it.
	Devices  int
	Replicas int
	// Servers are the broker's URLs, and CA the PEM of the only authorities to
	// trust for it. Devices that enroll pin them as well.
	Servers []string
	CA      []byte
	// Account is the fleet's at the broker, "FLEET" by default.
	Account string
	// Keys are the callout's own; nil for ones that are made in the cluster, once.
	Keys *Keys
	// OperatorNKey is the seed of an operator's key at the broker, with which the
	// callout reads the registry. One is made in the cluster without it, once.
	OperatorNKey []byte
	// Identity says where identities are, SigningKeys are the fleet's public keys.
	Identity    Identity
	SigningKeys []string
	// DeviceServers are the broker's URLs as devices reach it; Servers by default.
	DeviceServers []string
	// KeyLifetime is how long a device's key is accepted; a year by default.
	KeyLifetime time.Duration
	Approve     Approve
	// BrokerService is that of the broker in the same namespace, "nats" by default.
	// The smoke test goes through it, and where there is none to Servers.
	BrokerService string
	// ServiceMonitor lets the Prometheus operator find the metrics.
	ServiceMonitor bool
	// Complete, when set, fills in what is known only once other parts are there.
	// It gets a copy of the Score before each look, and returns domain.ErrNotFound
	// while something is missing.
	Complete func(ctx context.Context, score *FleetCalloutScore) error
}

// Identity is the fleet's place at Zitadel.
type Identity struct {
	// Issuer is the URL, exactly as Zitadel names itself.
	Issuer string
	// Organization and Project are IDs.
	Organization string
	Project      string
	// DevicePrefix is what the user IDs of devices begin with, "fleet-paris-".
	DevicePrefix string
	// ServiceKey is the key file of the service user that makes identities.
	// ServiceKeySecret, a Secret that something else keeps, is the alternative,
	// with the file under ServiceKeyKey, or the constant of that name.
	ServiceKey       []byte
	ServiceKeySecret string
	ServiceKeyKey    string
	// CA holds the PEM of the only authorities to trust for it; empty for those of
	// the image.
	CA []byte
}

// Approve says which devices are approved without a person.
type Approve struct {
	// Labels are rules such as "site=paris,ring=1".
	Labels []string
	// Serials and MachineIDs are lists, one in a line, and behind it the device
	// when it is for one.
	Serials    []byte
	MachineIDs []byte
}

var _ deploy.Score[Cluster] = (*FleetCalloutScore)(nil)

// Name implements deploy.Score.
func (s *FleetCalloutScore) Name() string { return "callout" }

func (s *FleetCalloutScore) namespace() string     { return cmp.Or(s.Namespace, "fleet") }
func (s *FleetCalloutScore) brokerService() string { return cmp.Or(s.BrokerService, "nats") }

// Resources implements deploy.Score.
func (s *FleetCalloutScore) Resources(topology Cluster) ([]deploy.Resource, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.Complete == nil {
		if err := s.checkCompleted(); err != nil {
			return nil, err
		}
	}
	chart, err := charts.Callout()
	if err != nil {
		return nil, err
	}
	release := &kube.Release{
		Releases: topology, Namespace: s.namespace(), Name: releaseName, Values: s.preliminary(),
		Source: kube.Directory{Files: chart, Name: releaseName, Embedded: true}, Leaves: "the namespace and the keys",
	}
	resources := []deploy.Resource{
		kube.Requirement{Cluster: topology},
		&kube.Namespace{Objects: topology, Name: s.namespace()},
	}
	resources = append(resources, s.KeyResources(topology)...)
	for _, secret := range []kube.Secret{
		{Name: caSecret, Data: present(map[string][]byte{caKey: s.CA})},
		{Name: identitySecret, Data: present(map[string][]byte{ServiceKeyKey: s.Identity.ServiceKey, caKey: s.Identity.CA})},
	} {
		if len(secret.Data) > 0 {
			secret.Objects, secret.Namespace = topology, s.namespace()
			resources = append(resources, &secret)
		}
	}
	if object := s.approvals(); object != nil {
		resources = append(resources, &kube.Object{Objects: topology, Object: object})
	}
	return append(resources, &deploy.Late{Resource: release, Complete: func(ctx context.Context) (err error) {
		release.Values, err = s.complete(ctx, topology)
		return err
	}}), nil
}

// complete returns the values with what only the cluster knows: keys among it, of
// which a change starts the pods anew.
func (s *FleetCalloutScore) complete(ctx context.Context, topology Cluster) (map[string]any, error) {
	full := *s
	if s.Complete != nil {
		if err := s.Complete(ctx, &full); err != nil {
			return nil, err
		}
	}
	if err := full.checkCompleted(); err != nil {
		return nil, err
	}
	stamp, err := full.stamp(ctx, topology)
	if err != nil {
		return nil, err
	}
	return full.values(stamp), nil
}

// approvals is the ConfigMap with the lists, nil when there are none.
func (s *FleetCalloutScore) approvals() *unstructured.Unstructured {
	data := map[string]any{}
	for key, list := range present(map[string][]byte{serialsKey: s.Approve.Serials, machineIDsKey: s.Approve.MachineIDs}) {
		data[key] = string(list)
	}
	if len(data) == 0 {
		return nil
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": data,
		"metadata": map[string]any{"namespace": s.namespace(), "name": approvals},
	}}
}

// present are the entries that are not empty.
func present(data map[string][]byte) map[string][]byte {
	for key, value := range data {
		if len(value) == 0 {
			delete(data, key)
		}
	}
	return data
}
