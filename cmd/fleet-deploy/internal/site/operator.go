package site

import (
	"time"

	"github.com/nationtech/harmony-fleet/deploy/operator"
)

// Operator is fleet-operator in the cluster.
type Operator struct {
	// Image is the operator's, best with its digest.
	Image string `yaml:"image"`
	// Servers are the broker's URLs, and CAFile its only authorities; those of nats
	// by default.
	Servers []string `yaml:"servers"`
	CAFile  string   `yaml:"caFile"`
	// The operator's credential at the broker: a key, or a user and password. With
	// a callout beside it a key is made in the cluster without.
	NKeyFile     string `yaml:"nkeyFile"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"passwordFile"`
	// SigningKeyFile is the fleet's key; one is made in the cluster without it.
	SigningKeyFile string `yaml:"signingKeyFile"`
	Replicas       int    `yaml:"replicas"`
	// Devices is how many there will be; as many as nats has by default.
	Devices           int           `yaml:"devices"`
	StreamReplicas    int           `yaml:"streamReplicas"`
	HeartbeatInterval time.Duration `yaml:"heartbeatInterval"`
	ServiceMonitor    bool          `yaml:"serviceMonitor"`
}

func (o *clusterOpener) operator() (*operator.FleetOperatorScore, error) {
	s := o.site.Operator
	score := &operator.FleetOperatorScore{
		Namespace: o.site.Kubernetes.Namespace, Image: s.Image, Servers: s.Servers, User: s.User,
		Replicas: s.Replicas, StreamReplicas: s.StreamReplicas, HeartbeatInterval: s.HeartbeatInterval, ServiceMonitor: s.ServiceMonitor,
	}
	if score.Devices = s.Devices; s.Devices == 0 && o.site.Nats != nil {
		score.Devices = o.site.Nats.Devices
	}
	var err error
	for _, file := range []struct {
		key, name string
		into      *[]byte
	}{
		{"nkeyFile", s.NKeyFile, &score.NKey},
		{"passwordFile", s.PasswordFile, &score.Password},
		{"caFile", s.CAFile, &score.CA},
		{"signingKeyFile", s.SigningKeyFile, &score.SigningKey},
	} {
		if *file.into, err = o.read(file.key, file.name); err != nil {
			return nil, err
		}
	}
	return score, nil
}
