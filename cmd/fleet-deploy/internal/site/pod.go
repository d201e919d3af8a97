package site

import (
	"errors"
	"fmt"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy/agent/pod"
	"github.com/nationtech/harmony-fleet/deploy/kube"
)

// Pod is one device in the cluster.
type Pod struct {
	Device contracts.DeviceID `yaml:"device"`
	// The device's credential at the broker: a key, or a user and password.
	NKeyFile     string           `yaml:"nkeyFile"`
	User         string           `yaml:"user"`
	PasswordFile string           `yaml:"passwordFile"`
	Labels       contracts.Labels `yaml:"labels"`
	// Storage is the size of its volume, and StorageClass the volume's class.
	Storage      string `yaml:"storage"`
	StorageClass string `yaml:"storageClass"`
}

func (o *opener) openPod(p Pod, opened *Opened) error {
	a := o.site.Agents
	if a.Fleet == nil {
		return errors.New("set agents.fleet as well: nothing but the fleet can tell that it hears a pod")
	}
	score := &pod.FleetAgentPodScore{
		Device: p.Device, Namespace: o.site.Kubernetes.Namespace, Image: a.Image,
		Storage: p.Storage, StorageClass: p.StorageClass, Config: o.base.Config, Fleet: hears{o},
	}
	score.Config.User, score.Config.Labels = p.User, p.Labels
	var err error
	if score.Config.NKey, err = o.read(p.NKeyFile); err != nil {
		return fmt.Errorf("nkeyFile: %w", err)
	}
	if score.Config.Password, err = o.read(p.PasswordFile); err != nil {
		return fmt.Errorf("passwordFile: %w", err)
	}
	topology, err := kube.New(kube.Config{Kubeconfig: o.path(o.site.Kubernetes.Kubeconfig), Context: o.site.Kubernetes.Context})
	if err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	return add[pod.Cluster](opened, string(p.Device), score, topology)
}
