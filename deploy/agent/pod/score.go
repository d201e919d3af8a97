package pod

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/agent"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// Cluster is what the Score needs of a topology.
type Cluster interface {
	kube.Cluster
	kube.Objects
}

// FleetAgentPodScore is one device as a pod: fleet-agent with its state on a
// volume, as a user without rights. What it runs are processes in its container,
// so the image holds their programs; it has no container engine. They are
// started again, from the volume, after the pod was.
type FleetAgentPodScore struct {
	Device contracts.DeviceID
	// Namespace is made when it is not there; "fleet" by default.
	Namespace string
	// Image holds fleet-agent and what its workloads need, best with its digest.
	Image string
	// Config is the agent's configuration, with a key or a user.
	Config agent.Config
	// Storage is the size of the volume, 1Gi by default, and StorageClass its
	// class, the cluster's default when empty.
	Storage      string
	StorageClass string
	// Fleet tells whether the fleet hears the device.
	Fleet agent.Listener
}

var _ deploy.Score[Cluster] = (*FleetAgentPodScore)(nil)

// Name implements deploy.Score.
func (s *FleetAgentPodScore) Name() string { return "agent " + string(s.Device) }

func (s *FleetAgentPodScore) namespace() string {
	if s.Namespace == "" {
		return "fleet"
	}
	return s.Namespace
}

// object is the name of all that is made for the device.
func (s *FleetAgentPodScore) object() string { return "fleet-agent-" + string(s.Device) }

func (s *FleetAgentPodScore) storage() string {
	if s.Storage == "" {
		return "1Gi"
	}
	return s.Storage
}

func (s *FleetAgentPodScore) check() error {
	if err := s.Device.Validate(); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "device")
	}
	if _, err := resource.ParseQuantity(s.storage()); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "storage %q", s.Storage)
	}
	switch {
	case len(s.object()) > maxName:
		return domain.Errorf(domain.ErrInvalid, "device: %q is too long for a pod by %d characters", s.Device, len(s.object())-maxName)
	case s.Image == "":
		return domain.Errorf(domain.ErrInvalid, "image: name the agent's image, best with its digest")
	case s.Config.Enrollment != nil:
		return domain.Errorf(domain.ErrInvalid, "credential: a pod needs a key or a user; it cannot enroll")
	case s.Fleet == nil:
		return domain.Errorf(domain.ErrInvalid, "fleet: name the one that is to hear the device")
	}
	return nil
}

// maxName is what the name of a pod's revision leaves of a label's 63 bytes.
const maxName = 52

// Resources implements deploy.Score.
func (s *FleetAgentPodScore) Resources(topology Cluster) ([]deploy.Resource, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	config := s.Config
	config.DisablePodman = true
	files, err := config.Files(s.Device)
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", s.Device, err)
	}
	return []deploy.Resource{
		kube.Requirement{Cluster: topology},
		&kube.Namespace{Objects: topology, Name: s.namespace()},
		&kube.Secret{Objects: topology, Namespace: s.namespace(), Name: s.object(), Data: files},
		&kube.Object{Objects: topology, Object: s.statefulSet(files[configFile])},
	}, nil
}
