// Package metrics tells Prometheus what the agent does, in the text format.
package metrics

// The names of all metrics. A test compares them with docs/operations.md.
const (
	nameBuildInfo         = "fleet_agent_build_info"
	nameStartTime         = "fleet_agent_start_time_seconds"
	nameLinkUp            = "fleet_agent_link_up"
	nameDesiredGeneration = "fleet_agent_desired_generation"
	nameDesiredRefused    = "fleet_agent_desired_state_refused"
	nameDeployments       = "fleet_agent_deployments"
	nameWantedGeneration  = "fleet_agent_deployment_desired_generation"
	nameAppliedGeneration = "fleet_agent_deployment_applied_generation"
	nameRestarts          = "fleet_agent_service_restarts_total"
	nameRuntimeUp         = "fleet_agent_runtime_up"
	nameDuration          = "fleet_agent_reconcile_duration_seconds"
	nameFailures          = "fleet_agent_reconcile_failures_total"
	nameSent              = "fleet_agent_messages_sent_total"
	nameUnsent            = "fleet_agent_messages_failed_total"
	nameLastReport        = "fleet_agent_last_report_timestamp_seconds"
)

// Names returns the names of all metrics.
func Names() []string {
	return []string{
		nameBuildInfo, nameStartTime, nameLinkUp, nameDesiredGeneration, nameDesiredRefused, nameDeployments,
		nameWantedGeneration, nameAppliedGeneration, nameRestarts, nameRuntimeUp, nameDuration, nameFailures,
		nameSent, nameUnsent, nameLastReport,
	}
}
