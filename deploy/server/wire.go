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

func (w *FleetServerScore) wireNats() {
	if w.Nats = copied(w.Nats); w.Nats == nil {
		return
	}
	w.Nats.Namespace = cmp.Or(w.Nats.Namespace, w.Namespace)
	w.Nats.Devices = cmp.Or(w.Nats.Devices, w.Devices)
	w.Devices = cmp.Or(w.Devices, w.Nats.Devices)
}

func (w *FleetServerScore) wireZitadel() {
	w.Zitadel, w.Setup = copied(w.Zitadel), copied(w.Setup)
	if w.Zitadel != nil {
		w.Zitadel.Namespace = cmp.Or(w.Zitadel.Namespace, w.Namespace)
		if w.Setup == nil && w.Callout != nil {
			w.Setup = &zitadelsetup.FleetZitadelSetupScore{}
		}
	}
	if w.Setup == nil {
		return
	}
	w.Setup.Namespace = cmp.Or(w.Setup.Namespace, w.Namespace)
	if w.Zitadel != nil {
		w.Setup.Issuer = cmp.Or(w.Setup.Issuer, w.Zitadel.Issuer())
		w.Setup.Service = cmp.Or(w.Setup.Service, w.Zitadel.Service())
	}
}

// broker returns the broker's URLs and authorities, where it is one of the parts.
func (w *FleetServerScore) broker() (servers []string, ca []byte) {
	switch {
	case w.Nats == nil:
		return nil, nil
	case w.Nats.TLS != nil:
		return []string{fmt.Sprintf("tls://%s:4222", w.Nats.TLS.Host)}, w.Nats.TLS.CA
	default:
		return []string{fmt.Sprintf("nats://%s.%s.svc:4222", w.Nats.ServiceName(), w.Nats.Namespace)}, nil
	}
}

func (w *FleetServerScore) wireOperator() {
	if w.Operator = copied(w.Operator); w.Operator == nil {
		return
	}
	o := w.Operator
	o.Namespace = cmp.Or(o.Namespace, w.Namespace)
	o.Image = cmp.Or(o.Image, w.Image)
	o.Devices = cmp.Or(o.Devices, w.Devices)
	servers, ca := w.broker()
	if len(o.Servers) == 0 {
		o.Servers = servers
	}
	if len(o.CA) == 0 {
		o.CA = ca
	}
	if w.Nats != nil {
		o.StreamReplicas = cmp.Or(o.StreamReplicas, w.Nats.Replicas)
	}
}

func (w *FleetServerScore) wireCallout(topology kube.Objects) {
	if w.Callout = copied(w.Callout); w.Callout == nil {
		return
	}
	c := w.Callout
	c.Namespace = cmp.Or(c.Namespace, w.Namespace)
	c.Devices = cmp.Or(c.Devices, w.Devices)
	c.Image = cmp.Or(c.Image, w.Image)
	servers, ca := w.broker()
	if o := w.Operator; o != nil {
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
	if w.Nats != nil {
		c.BrokerService = cmp.Or(c.BrokerService, w.Nats.ServiceName())
	}
	if c.Complete == nil {
		c.Complete = w.complete(topology)
	}
}

// complete fills in the callout's what the operator and Zitadel know once they
// are there.
func (w *FleetServerScore) complete(topology kube.Objects) func(context.Context, *callout.FleetCalloutScore) error {
	setup, operator := w.Setup, w.Operator
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
