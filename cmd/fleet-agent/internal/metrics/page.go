package metrics

import (
	"runtime"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

// Page returns all metrics as Prometheus reads them.
func Page(status agent.Status, counts *Counts) string {
	e := &exposition{}
	e.family(nameBuildInfo, "gauge", "Always 1; the labels say which agent this is.")
	e.sample(nameBuildInfo, 1, "version", status.Version, "goversion", runtime.Version())
	e.family(nameStartTime, "gauge", "When the agent started, by the device's clock.")
	e.sample(nameStartTime, float64(status.StartedAt.UnixMilli())/1000)
	e.family(nameLinkUp, "gauge", "Whether the agent is connected to the broker.")
	e.sample(nameLinkUp, truth(status.Link.Connected))
	e.family(nameDesiredGeneration, "gauge", "Generation of the desired state that the device holds; 0 for none.")
	e.sample(nameDesiredGeneration, float64(status.DesiredGeneration))
	e.family(nameDesiredRefused, "gauge", "Whether the last desired state that came was refused.")
	e.sample(nameDesiredRefused, truth(status.Refused != nil))
	deployments(e, status)
	e.family(nameRuntimeUp, "gauge", "Whether a runtime answered when its workloads were last listed.")
	for _, r := range status.Runtimes {
		e.sample(nameRuntimeUp, truth(r.Problem == "" && !r.SeenAt.IsZero()), "runtime", r.Name)
	}
	if !status.LastReportAt.IsZero() {
		e.family(nameLastReport, "gauge", "When the last report was sent, by the device's clock; missing before the first.")
		e.sample(nameLastReport, float64(status.LastReportAt.UnixMilli())/1000)
	}
	counts.write(e)
	return e.String()
}

func deployments(e *exposition, status agent.Status) {
	phases := map[contracts.Phase]int{}
	for _, d := range status.Deployments {
		phases[d.Phase]++
	}
	e.family(nameDeployments, "gauge", "Deployments on this device by phase.")
	for _, phase := range contracts.Phases() {
		e.sample(nameDeployments, float64(phases[phase]), "phase", string(phase))
	}
	e.family(nameWantedGeneration, "gauge", "Generation of a deployment that shall run.")
	for _, d := range status.Deployments {
		e.sample(nameWantedGeneration, float64(d.Generation), "deployment", string(d.Name))
	}
	e.family(nameAppliedGeneration, "gauge", "Generation of a deployment that is on the host; 0 for none.")
	for _, d := range status.Deployments {
		e.sample(nameAppliedGeneration, float64(d.AppliedGeneration), "deployment", string(d.Name))
	}
	e.family(nameRestarts, "counter", "Restarts of a service since it was made.")
	for _, d := range status.Deployments {
		for _, s := range d.Services {
			e.sample(nameRestarts, float64(s.Restarts), "deployment", string(d.Name), "service", s.Name)
		}
	}
}
