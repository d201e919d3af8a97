package nats

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// ChartVersion is the version of the upstream chart that the values are for.
const ChartVersion = "2.14.2"

// Upstream is the upstream chart at its own repository.
func Upstream() kube.ChartSource {
	return kube.Repository{URL: "https://nats-io.github.io/k8s/helm/charts/", Name: "nats", Version: ChartVersion}
}

// Cluster is what the Score needs of a topology.
type Cluster interface {
	kube.Cluster
	kube.Releases
	kube.Forwards
}

// FleetNatsScore is the broker of a fleet in a cluster: JetStream on files,
// sized for a number of devices, with those admitted whom Admission says.
type FleetNatsScore struct {
	// Devices is how many there will be; needed.
	Devices int
	// Admission says who may connect; needed.
	Admission Admission
	// Chart is where the chart comes from; Upstream by default.
	Chart kube.ChartSource
	// Namespace is "fleet", and Release "nats", by default.
	Namespace string
	Release   string
	// Replicas is 1 or 3; 1 by default. Three on different nodes survive the
	// loss of one, and need three nodes.
	Replicas int
	// StorageClass of the volumes; the cluster's default when empty.
	StorageClass string
	// StorageGiB overrides the size of each server's volume.
	StorageGiB int
	// Unsynced lets the broker acknowledge what is not on the disk yet: up to
	// two minutes of acknowledged writes can be lost in a power cut. See ADR 8.
	Unsynced bool
	// TLS is how clients are served; nil for no TLS, within one cluster alone.
	TLS *TLS
	// Websocket, when set, serves clients over WebSocket as well.
	Websocket *Websocket
	// LeafNodes takes connections of leaf nodes, on port 7422. It needs TLS.
	LeafNodes bool
	// Service says how clients outside of the cluster get in.
	Service Service
	// PodMonitor adds the exporter of metrics and its PodMonitor, for clusters
	// with the Prometheus operator.
	PodMonitor bool
	// ImageRegistry is a mirror of the images; empty for the chart's own.
	ImageRegistry string
}

// TLS is the broker's certificate: a Secret that is there, or one to be written.
type TLS struct {
	// Host is the name by which clients reach the broker. The smoke test
	// verifies that the certificate is valid for it.
	Host string
	// SecretName is a Secret of type kubernetes.io/tls that something else, such
	// as cert-manager, keeps. Certificate and Key are the alternative, in PEM.
	SecretName  string
	Certificate []byte
	Key         []byte
	// CA holds the only authorities that the smoke test trusts, in PEM; empty
	// for those of this machine.
	CA []byte
}

// Websocket are the options of the WebSocket listener, on port 8080.
type Websocket struct {
	// Hosts make an Ingress for these names, of the class and with the TLS
	// Secret. Without Hosts, the broker's service is all there is.
	Hosts        []string
	IngressClass string
	IngressTLS   string
}

// ServiceType is ClusterIP, NodePort or LoadBalancer.
type ServiceType = corev1.ServiceType

// Service is the kind of the broker's service and its annotations.
type Service struct {
	// Type is ClusterIP by default.
	Type        ServiceType
	Annotations map[string]string
}

var _ deploy.Score[Cluster] = (*FleetNatsScore)(nil)

// Name implements deploy.Score.
func (s *FleetNatsScore) Name() string { return "nats " + s.release() }

// ServiceName is that of the broker's service, as the chart names it.
func (s *FleetNatsScore) ServiceName() string { return s.release() }

func (s *FleetNatsScore) namespace() string  { return cmp.Or(s.Namespace, "fleet") }
func (s *FleetNatsScore) release() string    { return cmp.Or(s.Release, "nats") }
func (s *FleetNatsScore) replicas() int      { return cmp.Or(s.Replicas, 1) }
func (s *FleetNatsScore) authSecret() string { return s.release() + "-auth" }

func (s *FleetNatsScore) tlsSecret() string { return cmp.Or(s.TLS.SecretName, s.release()+"-tls") }

func (s *FleetNatsScore) size() Size {
	size := SizeFor(s.Devices, s.replicas())
	size.StorageGiB = cmp.Or(s.StorageGiB, size.StorageGiB)
	return size
}

func (s *FleetNatsScore) check() error {
	for _, name := range []string{s.namespace(), s.release()} {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			return domain.Errorf(domain.ErrInvalid, "name %q: %s", name, problems[0])
		}
	}
	switch {
	case s.Devices < 1:
		return domain.Errorf(domain.ErrInvalid, "devices: say how many there will be; the limits follow from it")
	case s.replicas() != 1 && s.replicas() != 3:
		return domain.Errorf(domain.ErrInvalid, "replicas: %d is neither 1 nor 3: two cannot agree when one is away", s.Replicas)
	case s.Admission == nil:
		return domain.Errorf(domain.ErrInvalid, "admission: say who may connect, through the callout or as users")
	case !slices.Contains([]ServiceType{"", corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer}, s.Service.Type):
		return domain.Errorf(domain.ErrInvalid, "service: type %q is none of ClusterIP, NodePort and LoadBalancer", s.Service.Type)
	case s.LeafNodes && s.TLS == nil:
		return domain.Errorf(domain.ErrInvalid, "leafNodes: they come from other places, so TLS is needed")
	case s.Service.Type != "" && s.Service.Type != corev1.ServiceTypeClusterIP && s.TLS == nil:
		return domain.Errorf(domain.ErrInvalid, "service: type %s lets clients in from outside, so TLS is needed", s.Service.Type)
	case s.TLS != nil && s.TLS.Host == "":
		return domain.Errorf(domain.ErrInvalid, "tls.host: name the host by which clients reach the broker")
	case s.TLS != nil && (s.TLS.SecretName == "") == (len(s.TLS.Certificate) == 0):
		return domain.Errorf(domain.ErrInvalid, "tls: name a Secret, or give a certificate and its key, and not both")
	case s.TLS != nil && (len(s.TLS.Certificate) == 0) != (len(s.TLS.Key) == 0):
		return domain.Errorf(domain.ErrInvalid, "tls: a certificate needs its key, and a key its certificate")
	}
	return nil
}

// Resources implements deploy.Score.
func (s *FleetNatsScore) Resources(topology Cluster) ([]deploy.Resource, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	resources := []deploy.Resource{
		kube.Requirement{Cluster: topology},
		&kube.Namespace{Objects: topology, Name: s.namespace()},
	}
	admission, release, err := s.admitting(topology)
	if err != nil {
		return nil, err
	}
	resources = append(resources, admission)
	if s.TLS != nil && s.TLS.SecretName == "" {
		resources = append(resources, &kube.Secret{
			Objects: topology, Namespace: s.namespace(), Name: s.tlsSecret(), Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{corev1.TLSCertKey: s.TLS.Certificate, corev1.TLSPrivateKeyKey: s.TLS.Key},
		})
	}
	return append(resources, &kube.Object{Objects: topology, Object: s.networkPolicy()}, release), nil
}

// admitting are the Secret that says who may connect, and the release, whose
// pods start anew when that changes.
func (s *FleetNatsScore) admitting(topology Cluster) (admission, release deploy.Resource, err error) {
	source := s.Chart
	if source == nil {
		source = Upstream()
	}
	secret := &kube.Secret{Objects: topology, Namespace: s.namespace(), Name: s.authSecret()}
	chart := &kube.Release{
		Releases: topology, Namespace: s.namespace(), Name: s.release(), Source: source,
		Leaves: "the volumes, which hold the fleet's state",
	}
	fill := func(auth string) error {
		secret.Data = map[string][]byte{authFile: []byte(auth)}
		values, err := s.values(auth)
		chart.Values = values
		return err
	}
	later := s.Admission.later()
	if later == nil {
		auth, err := s.Admission.conf()
		if err != nil {
			return nil, nil, err
		}
		return secret, chart, fill(auth)
	}
	complete := func(ctx context.Context) error {
		auth, err := later(ctx)
		if err != nil {
			return err
		}
		return fill(auth)
	}
	chart.Values, err = s.values("")
	return &deploy.Late{Resource: secret, Complete: complete}, &deploy.Late{Resource: chart, Complete: complete}, err
}

// networkPolicy lets servers of this broker alone reach the port on which they
// trust each other.
func (s *FleetNatsScore) networkPolicy() *unstructured.Unstructured {
	pods := map[string]any{"matchLabels": map[string]any{
		"app.kubernetes.io/name": "nats", "app.kubernetes.io/instance": s.release(),
	}}
	port := func(number int64) map[string]any { return map[string]any{"port": number, "protocol": "TCP"} }
	open := []any{port(4222), port(8222)}
	if s.Websocket != nil {
		open = append(open, port(8080))
	}
	if s.LeafNodes {
		open = append(open, port(7422))
	}
	if s.PodMonitor {
		open = append(open, port(7777))
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
		"metadata": map[string]any{"name": fmt.Sprintf("%s-broker", s.release()), "namespace": s.namespace()},
		"spec": map[string]any{
			"podSelector": pods, "policyTypes": []any{"Ingress"},
			"ingress": []any{
				map[string]any{"ports": open},
				map[string]any{"ports": []any{port(6222)}, "from": []any{map[string]any{"podSelector": pods}}},
			},
		},
	}}
}
