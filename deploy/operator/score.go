package operator

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	adapter "github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/charts"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// Names of what the Score makes, and of the keys in its Secrets.
const (
	releaseName   = "fleet-operator"
	brokerSecret  = "fleet-operator-broker"
	signingSecret = "fleet-operator-signing"
	signingKey    = "signing.pem"
	// NKeyKey is the name of the operator's key in NKeySecret.
	NKeyKey     = "operator.nk"
	passwordKey = "password"
	caKey       = "ca.pem"
)

// Cluster is what the Score needs of a topology.
type Cluster interface {
	kube.Cluster
	kube.Releases
}

// FleetOperatorScore is fleet-operator in a namespace, which is that of its
// fleet. The definitions of Device and Deployment and the signing key stay when
// it is removed: with them would go the fleet.
type FleetOperatorScore struct {
	// Namespace is made when it is not there; "fleet" by default.
	Namespace string
	// Image is the operator's, best with its digest.
	Image string
	// Servers are the broker's URLs.
	Servers []string
	// NKey is the seed of the operator's key at the broker. NKeySecret, a Secret
	// with it that something else keeps, under the name NKeyKey, and User with
	// Password are the alternatives.
	NKey       []byte
	NKeySecret string
	User       string
	Password   []byte
	// CA holds the PEM of the only authorities to trust for the broker.
	CA []byte
	// SigningKey is the fleet's key, as `fleet-operator keygen` makes it.
	// Without one it is made in the cluster, once.
	SigningKey []byte
	// Devices is how many there will be: memory and processor follow from it, and
	// are the chart's own when it is zero.
	Devices int
	// Replicas is how many operators run; 2 by default.
	Replicas int
	// StreamReplicas is how many copies the broker keeps: 1 (default), 3 or 5.
	StreamReplicas int
	// HeartbeatInterval is the chart's default when zero.
	HeartbeatInterval time.Duration
	// ServiceMonitor lets the Prometheus operator find the metrics.
	ServiceMonitor bool
}

var _ deploy.Score[Cluster] = (*FleetOperatorScore)(nil)

// Name implements deploy.Score.
func (s *FleetOperatorScore) Name() string { return "operator" }

func (s *FleetOperatorScore) namespace() string {
	if s.Namespace == "" {
		return "fleet"
	}
	return s.Namespace
}

func (s *FleetOperatorScore) check() error {
	switch {
	case s.Image == "":
		return domain.Errorf(domain.ErrInvalid, "image: name the operator's image, best with its digest")
	case len(s.Servers) == 0:
		return domain.Errorf(domain.ErrInvalid, "servers: name at least one URL of the broker")
	case given(len(s.NKey) > 0, s.NKeySecret != "", s.User != "") != 1:
		return domain.Errorf(domain.ErrInvalid, "credential: give a key, or a user and password")
	case (s.User == "") != (len(s.Password) == 0):
		return domain.Errorf(domain.ErrInvalid, "credential: a user needs a password, and a password a user")
	case s.Devices < 0:
		return domain.Errorf(domain.ErrInvalid, "devices: %d is less than none", s.Devices)
	case s.Replicas < 0:
		return domain.Errorf(domain.ErrInvalid, "replicas: %d is less than none", s.Replicas)
	}
	return nil
}

func given(sources ...bool) int {
	n := 0
	for _, is := range sources {
		if is {
			n++
		}
	}
	return n
}

// Resources implements deploy.Score.
func (s *FleetOperatorScore) Resources(topology Cluster) ([]deploy.Resource, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	resources := []deploy.Resource{
		kube.Requirement{Cluster: topology},
		&kube.Namespace{Objects: topology, Name: s.namespace()},
	}
	definitions, err := definitions(topology)
	if err != nil {
		return nil, err
	}
	chart, err := charts.Operator()
	if err != nil {
		return nil, err
	}
	resources = append(resources, definitions...)
	if data := s.credential(); len(data) > 0 {
		resources = append(resources, &kube.Secret{Objects: topology, Namespace: s.namespace(), Name: brokerSecret, Data: data})
	}
	return append(resources,
		s.signing(topology),
		&kube.Release{
			Releases: topology, Namespace: s.namespace(), Name: releaseName, Values: s.values(),
			Source: kube.Directory{Files: chart, Name: releaseName, Embedded: true},
			Leaves: "the namespace, the signing key, and all Devices and Deployments",
		}), nil
}

// definitions are those of the fleet's resources, which are upgraded with the
// operator and never removed.
func definitions(topology kube.Objects) ([]deploy.Resource, error) {
	files, err := adapter.CRDFiles()
	if err != nil {
		return nil, err
	}
	resources := make([]deploy.Resource, len(files))
	for i, file := range files {
		var object unstructured.Unstructured
		if err := yaml.Unmarshal(file, &object.Object); err != nil {
			return nil, fmt.Errorf("definition %d: %w", i+1, err)
		}
		resources[i] = &kube.Object{Objects: topology, Object: &object, Keep: "with it would go every resource of its kind"}
	}
	return resources, nil
}

func (s *FleetOperatorScore) credential() map[string][]byte {
	data := map[string][]byte{}
	for key, value := range map[string][]byte{NKeyKey: s.NKey, passwordKey: s.Password, caKey: s.CA} {
		if len(value) > 0 {
			data[key] = value
		}
	}
	return data
}

// values are the chart's, without secrets.
func (s *FleetOperatorScore) values() map[string]any {
	broker := map[string]any{"servers": s.Servers, "secret": cmp.Or(s.NKeySecret, brokerSecret), "nkeyKey": NKeyKey, "passwordKey": passwordKey}
	if s.User != "" {
		broker["user"] = s.User
	}
	if len(s.CA) > 0 {
		broker["caSecret"], broker["caKey"] = brokerSecret, caKey
	}
	values := map[string]any{
		"image":          s.Image,
		"replicas":       2,
		"broker":         broker,
		"signingKey":     map[string]any{"secret": signingSecret, "key": signingKey},
		"definitions":    map[string]any{"enabled": false},
		"serviceMonitor": map[string]any{"enabled": s.ServiceMonitor},
	}
	if s.Devices > 0 {
		values["resources"] = SizeFor(s.Devices).resources()
	}
	if s.Replicas > 0 {
		values["replicas"] = s.Replicas
	}
	if s.StreamReplicas > 0 {
		values["streamReplicas"] = s.StreamReplicas
	}
	if s.HeartbeatInterval > 0 {
		values["heartbeatInterval"] = s.HeartbeatInterval.String()
	}
	return values
}

// Smoke implements deploy.Score: one of the operators leads, so it reached the
// broker and the API server. Each is ready since the release is deployed.
func (s *FleetOperatorScore) Smoke(ctx context.Context, topology Cluster, progress deploy.Progress) error {
	return awaitLeader(ctx, topology, s.namespace(), progress)
}
