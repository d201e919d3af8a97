package memory

import (
	"bytes"
	"maps"
	"slices"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Deep copies of what is stored.

func cloneDevice(d domain.FleetDevice) domain.FleetDevice {
	d.Labels = maps.Clone(d.Labels)
	return d
}

func cloneEnrollment(e domain.EnrollmentIntent) domain.EnrollmentIntent {
	e.Labels = maps.Clone(e.Labels)
	return e
}

func cloneDeployment(d domain.FleetDeployment) domain.FleetDeployment {
	d.Labels = maps.Clone(d.Labels)
	d.Spec.Score = cloneScore(d.Spec.Score)
	if d.Spec.TargetSelector != nil {
		selector := contracts.LabelSelector{
			MatchLabels:      maps.Clone(d.Spec.TargetSelector.MatchLabels),
			MatchExpressions: slices.Clone(d.Spec.TargetSelector.MatchExpressions),
		}
		for i := range selector.MatchExpressions {
			selector.MatchExpressions[i].Values = slices.Clone(selector.MatchExpressions[i].Values)
		}
		d.Spec.TargetSelector = &selector
	}
	return d
}

func cloneScore(s contracts.ReconcileScore) contracts.ReconcileScore {
	s.Data = bytes.Clone(s.Data)
	return s
}

func cloneStatus(s contracts.DeploymentStatus) contracts.DeploymentStatus {
	s.Conditions = slices.Clone(s.Conditions)
	s.Problems = slices.Clone(s.Problems)
	return s
}

func cloneObservation(o domain.Observation) domain.Observation {
	switch {
	case o.Info != nil:
		info := *o.Info
		info.Labels = maps.Clone(info.Labels)
		info.Inventory.Runtimes = slices.Clone(info.Inventory.Runtimes)
		o.Info = &info
	case o.Report != nil:
		report := cloneReport(*o.Report)
		o.Report = &report
	case o.Heartbeat != nil:
		o.Heartbeat = clonePointer(o.Heartbeat)
	}
	return o
}

func cloneReport(r contracts.DeviceReport) contracts.DeviceReport {
	r.Deployments = slices.Clone(r.Deployments)
	for i := range r.Deployments {
		r.Deployments[i].Services = cloneServices(r.Deployments[i].Services)
	}
	r.Refused = clonePointer(r.Refused)
	r.Upgrade = clonePointer(r.Upgrade)
	return r
}

func cloneServices(services []contracts.ServiceReport) []contracts.ServiceReport {
	services = slices.Clone(services)
	for i := range services {
		services[i].ExitCode = clonePointer(services[i].ExitCode)
	}
	return services
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	value := *p
	return &value
}
