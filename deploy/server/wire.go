package server

import (
	"cmp"
	"context"
	"fmt"

	"github.com/nationtech/harmony-fleet/deploy/callout"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/zitadelsetup"
)

// wire returns copies of the parts with what each can know of the others.
func (s *FleetServerScore) wire(topology kube.Objects) FleetServerScore {
	w := *s
	w.Namespace = s.namespace()
	w.wireNats()
	w.wireZitadel()
	w.wireOperator()
	w.wireCallout(topology)
	if w.Nats != nil && w.Callout != nil {
		w.Nats.Admission = w.Callout.Admission(topology, s.Operators...)
	}
	return w
}

// copied returns a copy, nil of nil.
func copied[T any](score *T) *T {
	if score == nil {
		return nil
	}
	c := *score
	return &c
}

func (s *FleetServerScore) wireNats() {
	if s.Nats = copied(s.Nats); s.Nats == nil {
		return
	}
	s.Nats.Namespace = cmp.Or(s.Nats.Namespace, s.Namespace)
	s.Nats.Devices = cmp.Or(s.Nats.Devices, s.Devices)
	s.Devices = cmp.Or(s.Devices, s.Nats.Devices)
}

func (s *FleetServerScore) wireZitadel() {
	s.Zitadel, s.Setup = copied(s.Zitadel), copied(s.Setup)
	if s.Zitadel != nil {
		s.Zitadel.Namespace = cmp.Or(s.Zitadel.Namespace, s.Namespace)
		if s.Setup == nil && s.Callout != nil {
			s.Setup = &zitadelsetup.FleetZitadelSetupScore{}
		}
	}
	if s.Setup == nil {
		return
	}
	s.Setup.Namespace = cmp.Or(s.Setup.Namespace, s.Namespace)
	if s.Zitadel != nil {
		s.Setup.Issuer = cmp.Or(s.Setup.Issuer, s.Zitadel.Issuer())
		s.Setup.Service = cmp.Or(s.Setup.Service, s.Zitadel.Service())
	}
}

// broker returns the broker's URLs and authorities, where it is one of the parts.
func (s *FleetServerScore) broker() (servers []string, ca []byte) {
	switch {
	case s.Nats == nil:
		return nil, nil
	case s.Nats.TLS != nil:
		return []string{fmt.Sprintf("tls://%s:4222", s.Nats.TLS.Host)}, s.Nats.TLS.CA
	default:
		return []string{fmt.Sprintf("nats://%s.%s.svc:4222", s.Nats.ServiceName(), s.Nats.Namespace)}, nil
	}
}

func (s *FleetServerScore) wireOperator() {
	if s.Operator = copied(s.Operator); s.Operator == nil {
		return
	}
	o := s.Operator
	o.Namespace = cmp.Or(o.Namespace, s.Namespace)
	o.Image = cmp.Or(o.Image, s.Image)
	o.Devices = cmp.Or(o.Devices, s.Devices)
	servers, ca := s.broker()
	if len(o.Servers) == 0 {
		o.Servers = servers
	}
	if len(o.CA) == 0 {
		o.CA = ca
	}
	if s.Nats != nil {
		o.StreamReplicas = cmp.Or(o.StreamReplicas, s.Nats.Replicas)
	}
}

func (s *FleetServerScore) wireCallout(topology kube.Objects) {
	if s.Callout = copied(s.Callout); s.Callout == nil {
		return
	}
	c := s.Callout
	c.Namespace = cmp.Or(c.Namespace, s.Namespace)
	c.Devices = cmp.Or(c.Devices, s.Devices)
	c.Image = cmp.Or(c.Image, s.Image)
	servers, ca := s.broker()
	if o := s.Operator; o != nil {
		// One key for both, in one Secret.
		if o.NKeySecret == "" {
			c.OperatorNKey = append(c.OperatorNKey, o.NKey...)
			o.NKey, o.NKeySecret = nil, callout.OperatorSecret
		}
		c.Image = cmp.Or(c.Image, o.Image)
		servers, ca = o.Servers, o.CA
	}
	if len(c.Servers) == 0 {
		c.Servers = servers
	}
	if len(c.CA) == 0 {
		c.CA = ca
	}
	if s.Nats != nil {
		c.BrokerService = cmp.Or(c.BrokerService, s.Nats.ServiceName())
	}
	if c.Complete == nil {
		c.Complete = s.complete(topology)
	}
}

// complete fills in the callout's what the operator and Zitadel know once they
// are there.
func (s *FleetServerScore) complete(topology kube.Objects) func(context.Context, *callout.FleetCalloutScore) error {
	setup, operator := s.Setup, s.Operator
	return func(ctx context.Context, c *callout.FleetCalloutScore) error {
		if len(c.SigningKeys) == 0 && operator != nil {
			keys, err := operator.SigningKeys(ctx, topology)
			if err != nil {
				return err
			}
			c.SigningKeys = keys
		}
		if setup == nil {
			return nil
		}
		found, err := setup.Identity(ctx, topology)
		if err != nil {
			return err
		}
		i := &c.Identity
		i.Issuer = cmp.Or(i.Issuer, found.Issuer)
		i.Organization = cmp.Or(i.Organization, found.OrganizationID)
		i.Project = cmp.Or(i.Project, found.ProjectID)
		i.DevicePrefix = cmp.Or(i.DevicePrefix, string(found.DevicePrefix))
		if len(i.ServiceKey) == 0 && i.ServiceKeySecret == "" {
			i.ServiceKeySecret, i.ServiceKeyKey = found.KeySecret, zitadelsetup.KeyFile
		}
		return nil
	}
}
