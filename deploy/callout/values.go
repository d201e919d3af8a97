package callout

import (
	"cmp"

	"github.com/nationtech/harmony-fleet/deploy/operator"
)

func (s *FleetCalloutScore) serviceKeyKey() string {
	return cmp.Or(s.Identity.ServiceKeyKey, ServiceKeyKey)
}

// preliminary are values that the chart takes, for whoever wants to know its
// images before all else is known.
func (s *FleetCalloutScore) preliminary() map[string]any {
	full := *s
	for _, field := range []*string{&full.Identity.Issuer, &full.Identity.Organization, &full.Identity.Project, &full.Identity.DevicePrefix} {
		*field = cmp.Or(*field, "later")
	}
	if len(full.SigningKeys) == 0 {
		full.SigningKeys = []string{"ed25519:later"}
	}
	return full.values("")
}

// values are the chart's, without secrets.
func (s *FleetCalloutScore) values(stamp string) map[string]any {
	size := s.size()
	broker := map[string]any{"servers": s.Servers, "secret": OperatorSecret, "nkeyKey": operator.NKeyKey}
	if s.Account != "" {
		broker["account"] = s.Account
	}
	if len(s.CA) > 0 {
		broker["caSecret"], broker["caKey"] = caSecret, caKey
	}
	identity := map[string]any{
		"issuer": s.Identity.Issuer, "organization": s.Identity.Organization, "project": s.Identity.Project,
		"devicePrefix": s.Identity.DevicePrefix, "secret": identitySecret, "serviceKeyKey": ServiceKeyKey,
	}
	if name := s.Identity.ServiceKeySecret; name != "" {
		identity["secret"], identity["serviceKeyKey"] = name, s.serviceKeyKey()
	}
	if len(s.Identity.CA) > 0 {
		identity["caSecret"], identity["caKey"] = identitySecret, caKey
	}
	devices := map[string]any{}
	if len(s.DeviceServers) > 0 {
		devices["servers"] = s.DeviceServers
	}
	if s.KeyLifetime > 0 {
		devices["keyLifetime"] = s.KeyLifetime.String()
	}
	approve := map[string]any{}
	if len(s.Approve.Labels) > 0 {
		approve["labels"] = s.Approve.Labels
	}
	if s.approvals() != nil {
		approve["configMap"] = approvals
	}
	if len(s.Approve.Serials) > 0 {
		approve["serialsKey"] = serialsKey
	}
	if len(s.Approve.MachineIDs) > 0 {
		approve["machineIDsKey"] = machineIDsKey
	}
	return map[string]any{
		"image":          s.Image,
		"replicas":       size.Replicas,
		"resources":      size.resources(),
		"broker":         broker,
		"keys":           map[string]any{"secret": keysSecret, "unencrypted": s.Keys != nil && len(s.Keys.Exchange) == 0},
		"identity":       identity,
		"signingKeys":    s.SigningKeys,
		"devices":        devices,
		"approve":        approve,
		"networkPolicy":  s.networkPolicy(),
		"serviceMonitor": map[string]any{"enabled": s.ServiceMonitor},
		"podAnnotations": map[string]any{"harmony-fleet/keys": stamp},
	}
}
