package site

import (
	"fmt"

	adapter "github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy/nats"
)

// Nats is the broker in the cluster.
type Nats struct {
	Chart Chart `yaml:"chart"`
	// Devices is how many there will be.
	Devices  int `yaml:"devices"`
	Replicas int `yaml:"replicas"`
	// StorageClass and StorageGiB are of each server's volume.
	StorageClass string `yaml:"storageClass"`
	StorageGiB   int    `yaml:"storageGiB"`
	// Unsynced acknowledges what is not on the disk yet.
	Unsynced bool     `yaml:"unsynced"`
	TLS      *NatsTLS `yaml:"tls"`
	// Callout and Users say who may connect; one of both.
	Callout       *NatsCallout   `yaml:"callout"`
	Users         []NatsUser     `yaml:"users"`
	Websocket     *NatsWebsocket `yaml:"websocket"`
	LeafNodes     bool           `yaml:"leafNodes"`
	Service       NatsService    `yaml:"service"`
	PodMonitor    bool           `yaml:"podMonitor"`
	ImageRegistry string         `yaml:"imageRegistry"`
}

// NatsTLS is the broker's certificate: a Secret that is there, or files.
type NatsTLS struct {
	Host       string `yaml:"host"`
	SecretName string `yaml:"secretName"`
	CertFile   string `yaml:"certFile"`
	KeyFile    string `yaml:"keyFile"`
	CAFile     string `yaml:"caFile"`
}

// NatsCallout are the public keys of the fleet's callout.
type NatsCallout struct {
	Account     string   `yaml:"account"`
	Issuer      string   `yaml:"issuer"`
	Exchange    string   `yaml:"exchange"`
	CalloutUser string   `yaml:"calloutUser"`
	SystemUser  string   `yaml:"systemUser"`
	Operators   []string `yaml:"operators"`
}

// NatsUser is a user whom the broker knows by itself: by key, or by name and
// password. It is a device, or has the role operator or viewer.
type NatsUser struct {
	NKey         string             `yaml:"nkey"`
	Name         string             `yaml:"name"`
	PasswordFile string             `yaml:"passwordFile"`
	Role         string             `yaml:"role"`
	Device       contracts.DeviceID `yaml:"device"`
}

// NatsWebsocket are the options of the WebSocket listener.
type NatsWebsocket struct {
	Hosts        []string `yaml:"hosts"`
	IngressClass string   `yaml:"ingressClass"`
	IngressTLS   string   `yaml:"ingressTLS"`
}

// NatsService is the kind of the broker's service.
type NatsService struct {
	Type        string            `yaml:"type"`
	Annotations map[string]string `yaml:"annotations"`
}

func (o *clusterOpener) nats() (*nats.FleetNatsScore, error) {
	n := o.site.Nats
	score := &nats.FleetNatsScore{
		Devices: n.Devices, Replicas: n.Replicas, Namespace: o.site.Kubernetes.Namespace,
		StorageClass: n.StorageClass, StorageGiB: n.StorageGiB, Unsynced: n.Unsynced,
		LeafNodes: n.LeafNodes, PodMonitor: n.PodMonitor, ImageRegistry: n.ImageRegistry,
	}
	score.Service.Type, score.Service.Annotations = nats.ServiceType(n.Service.Type), n.Service.Annotations
	var err error
	if score.Chart, err = o.chart(n.Chart, "nats", nats.ChartVersion); err != nil {
		return nil, err
	}
	if w := n.Websocket; w != nil {
		score.Websocket = &nats.Websocket{Hosts: w.Hosts, IngressClass: w.IngressClass, IngressTLS: w.IngressTLS}
	}
	if score.TLS, err = o.natsTLS(); err != nil {
		return nil, err
	}
	if score.Admission, err = o.admission(); err != nil {
		return nil, err
	}
	return score, nil
}

func (o *clusterOpener) natsTLS() (*nats.TLS, error) {
	t := o.site.Nats.TLS
	if t == nil {
		return nil, nil
	}
	opened := &nats.TLS{Host: t.Host, SecretName: t.SecretName}
	var err error
	if opened.Certificate, err = o.read("tls.certFile", t.CertFile); err != nil {
		return nil, err
	}
	if opened.Key, err = o.read("tls.keyFile", t.KeyFile); err != nil {
		return nil, err
	}
	opened.CA, err = o.read("tls.caFile", t.CAFile)
	return opened, err
}

func (o *clusterOpener) admission() (nats.Admission, error) {
	n := o.site.Nats
	if o.site.Callout != nil && n.Callout == nil && len(n.Users) == 0 {
		return nil, nil // the callout of this site says it
	}
	if (n.Callout == nil) == (len(n.Users) == 0) {
		return nil, fmt.Errorf("say who may connect: write a callout beside it, or here the public keys of another callout, or users")
	}
	if c := n.Callout; c != nil {
		return nats.Callout{
			Accounts: adapter.Accounts{Fleet: c.Account}, Issuer: c.Issuer, Exchange: c.Exchange,
			CalloutUser: c.CalloutUser, SystemUser: c.SystemUser, Operators: c.Operators,
		}, nil
	}
	var users nats.Users
	for i, user := range n.Users {
		static, err := o.user(user)
		if err != nil {
			return nil, fmt.Errorf("users[%d]: %w", i, err)
		}
		users.Users = append(users.Users, static)
	}
	return users, nil
}

func (o *clusterOpener) user(user NatsUser) (adapter.StaticUser, error) {
	password, err := o.secret("passwordFile", user.PasswordFile)
	if err != nil {
		return adapter.StaticUser{}, err
	}
	static := adapter.StaticUser{NKey: user.NKey, Name: user.Name, Password: string(password)}
	switch {
	case user.Device != "" && user.Role == "":
		if err := user.Device.Validate(); err != nil {
			return adapter.StaticUser{}, fmt.Errorf("device: %w", err)
		}
		static.Permissions = adapter.DevicePermissions(user.Device)
	case user.Device == "" && user.Role == "operator":
		static.Permissions = adapter.OperatorPermissions()
	case user.Device == "" && user.Role == "viewer":
		static.Permissions, static.Viewer = adapter.ViewerPermissions(), true
	default:
		return adapter.StaticUser{}, fmt.Errorf("write a device, or the role operator or viewer")
	}
	return static, nil
}
