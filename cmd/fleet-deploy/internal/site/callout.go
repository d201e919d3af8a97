package site

import (
	"time"

	"github.com/nationtech/harmony-fleet/deploy/callout"
)

// Callout is the auth callout in the cluster. What is empty is taken from the
// other parts.
type Callout struct {
	// Image is that of fleet-operator; the operator's by default.
	Image string `yaml:"image"`
	// Devices is how many there will be; that of nats by default.
	Devices  int `yaml:"devices"`
	Replicas int `yaml:"replicas"`
	// Servers are the broker's URLs, CAFile its only authorities, and Account the
	// fleet's there.
	Servers []string `yaml:"servers"`
	CAFile  string   `yaml:"caFile"`
	Account string   `yaml:"account"`
	// Keys are the callout's own; they are made in the cluster without.
	Keys *CalloutKeys `yaml:"keys"`
	// OperatorNKeyFile is the key that it shares with the operator.
	OperatorNKeyFile string `yaml:"operatorNKeyFile"`
	// Operators are the public nkeys of people and tools with the operator's
	// rights.
	Operators []string        `yaml:"operators"`
	Identity  CalloutIdentity `yaml:"identity"`
	// SigningKeys are the fleet's public keys.
	SigningKeys []string `yaml:"signingKeys"`
	// DeviceServers are the broker's URLs as devices reach it.
	DeviceServers  []string       `yaml:"deviceServers"`
	KeyLifetime    time.Duration  `yaml:"keyLifetime"`
	Approve        CalloutApprove `yaml:"approve"`
	ServiceMonitor bool           `yaml:"serviceMonitor"`
}

// CalloutKeys are files with the seeds of nkeys.
type CalloutKeys struct {
	IssuerFile      string `yaml:"issuerFile"`
	ExchangeFile    string `yaml:"exchangeFile"`
	CalloutUserFile string `yaml:"calloutUserFile"`
	SystemUserFile  string `yaml:"systemUserFile"`
}

// CalloutIdentity is the fleet's place at Zitadel.
type CalloutIdentity struct {
	Issuer           string `yaml:"issuer"`
	Organization     string `yaml:"organization"`
	Project          string `yaml:"project"`
	DevicePrefix     string `yaml:"devicePrefix"`
	ServiceKeyFile   string `yaml:"serviceKeyFile"`
	ServiceKeySecret string `yaml:"serviceKeySecret"`
	CAFile           string `yaml:"caFile"`
}

// CalloutApprove says which devices are approved without a person.
type CalloutApprove struct {
	Labels         []string `yaml:"labels"`
	SerialsFile    string   `yaml:"serialsFile"`
	MachineIDsFile string   `yaml:"machineIDsFile"`
}

func (o *clusterOpener) callout() (*callout.FleetCalloutScore, error) {
	c := o.site.Callout
	score := &callout.FleetCalloutScore{
		Image: c.Image, Devices: c.Devices, Replicas: c.Replicas, Servers: c.Servers, Account: c.Account,
		SigningKeys: c.SigningKeys, DeviceServers: c.DeviceServers, KeyLifetime: c.KeyLifetime, ServiceMonitor: c.ServiceMonitor,
		Identity: callout.Identity{
			Issuer: c.Identity.Issuer, Organization: c.Identity.Organization, Project: c.Identity.Project,
			DevicePrefix: c.Identity.DevicePrefix, ServiceKeySecret: c.Identity.ServiceKeySecret,
		},
		Approve: callout.Approve{Labels: c.Approve.Labels},
	}
	type file struct {
		key, name string
		into      *[]byte
	}
	files := []file{
		{"caFile", c.CAFile, &score.CA},
		{"operatorNKeyFile", c.OperatorNKeyFile, &score.OperatorNKey},
		{"identity.serviceKeyFile", c.Identity.ServiceKeyFile, &score.Identity.ServiceKey},
		{"identity.caFile", c.Identity.CAFile, &score.Identity.CA},
		{"approve.serialsFile", c.Approve.SerialsFile, &score.Approve.Serials},
		{"approve.machineIDsFile", c.Approve.MachineIDsFile, &score.Approve.MachineIDs},
	}
	if k := c.Keys; k != nil {
		score.Keys = &callout.Keys{}
		files = append(files,
			file{"keys.issuerFile", k.IssuerFile, &score.Keys.Issuer},
			file{"keys.exchangeFile", k.ExchangeFile, &score.Keys.Exchange},
			file{"keys.calloutUserFile", k.CalloutUserFile, &score.Keys.CalloutUser},
			file{"keys.systemUserFile", k.SystemUserFile, &score.Keys.SystemUser})
	}
	for _, file := range files {
		var err error
		if *file.into, err = o.read(file.key, file.name); err != nil {
			return nil, err
		}
	}
	return score, nil
}
