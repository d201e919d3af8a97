package agent

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// maxReported bounds the deployments of a report, as its decoder does.
const maxReported = 256

// compose returns what the device runs now, under the lock. The sequence is that
// of the last report sent. Since goes on from the last composed report as long as
// phase and reason stay, unless the clock was set back to before it.
func (a *Agent) compose(now time.Time) contracts.DeviceReport {
	report := contracts.DeviceReport{Sequence: a.sent, AppliedGeneration: a.generation(), AppliedDigest: a.digest(), Refused: a.refused}
	now = now.UTC().Truncate(time.Millisecond)
	for _, name := range a.reported() {
		r := a.assess(a.tasks[name])
		r.Name = name
		r.Since = now
		if before, found := reportOf(a.current, name); found && before.Phase == r.Phase && before.Reason == r.Reason && !before.Since.After(now) {
			r.Since = before.Since
		}
		if (contracts.DeviceReport{Deployments: []contracts.DeploymentReport{r}}).Validate() != nil {
			// A runtime that breaks the rules must not silence the device.
			r.Services = nil
		}
		report.Deployments = append(report.Deployments, r)
	}
	if a.acceptance.held == nil {
		report.Deployments = append(report.Deployments, a.untold(now)...)
		slices.SortFunc(report.Deployments, func(x, y contracts.DeploymentReport) int { return strings.Compare(string(x.Name), string(y.Name)) })
	}
	return report
}

// untold returns what runs on the host without a task. Before a trusted desired
// state is known nothing of it is touched, but people shall see it.
func (a *Agent) untold(now time.Time) []contracts.DeploymentReport {
	var found []contracts.DeploymentReport
	for _, h := range a.hosts {
		for _, status := range h.statuses {
			phase, reason := status.Assess()
			r := contracts.DeploymentReport{
				Name: status.Name, Generation: status.Generation, Phase: phase, Reason: reason,
				Message: contracts.Clip(status.Message, contracts.MaxMessageBytes), Since: now, Services: status.Services,
			}
			if before, known := reportOf(a.current, status.Name); known && before.Phase == phase && before.Reason == reason && !before.Since.After(now) {
				r.Since = before.Since
			}
			twice := slices.ContainsFunc(found, func(other contracts.DeploymentReport) bool { return other.Name == r.Name })
			if a.tasks[status.Name] == nil && !twice && (contracts.DeviceReport{Deployments: []contracts.DeploymentReport{r}}).Validate() == nil {
				found = append(found, r)
			}
		}
	}
	return found[:min(len(found), maxReported)]
}

// reported returns the names to report, sorted. Those being removed are left out
// first when there are too many.
func (a *Agent) reported() []contracts.DeploymentName {
	names := slices.Sorted(maps.Keys(a.tasks))
	if len(names) <= maxReported {
		return names
	}
	slices.SortStableFunc(names, func(x, y contracts.DeploymentName) int {
		return wantedFirst(a.tasks[x]) - wantedFirst(a.tasks[y])
	})
	names = names[:maxReported]
	slices.Sort(names)
	return names
}

func wantedFirst(t *task) int {
	if t.want != nil {
		return 0
	}
	return 1
}

func reportOf(report contracts.DeviceReport, name contracts.DeploymentName) (contracts.DeploymentReport, bool) {
	i, found := slices.BinarySearchFunc(report.Deployments, name, func(r contracts.DeploymentReport, n contracts.DeploymentName) int {
		return strings.Compare(string(r.Name), string(n))
	})
	if !found {
		return contracts.DeploymentReport{}, false
	}
	return report.Deployments[i], true
}

// fitting returns the report, without its services and with shorter messages
// when it is too large to send with them.
func fitting(report contracts.DeviceReport) contracts.DeviceReport {
	if _, err := contracts.Encode(report); err == nil {
		return report
	}
	report.Deployments = slices.Clone(report.Deployments)
	for i := range report.Deployments {
		report.Deployments[i].Services = nil
	}
	for most := contracts.MaxMessageBytes / 2; most > 0; most /= 2 {
		if _, err := contracts.Encode(report); err == nil {
			return report
		}
		for i := range report.Deployments {
			report.Deployments[i].Message = contracts.Clip(report.Deployments[i].Message, max(most, 3))
		}
	}
	return report
}

// sameReport compares all but the sequences.
func sameReport(a, b contracts.DeviceReport) bool {
	a.Sequence, b.Sequence = 0, 0
	if len(a.Deployments) == 0 && len(b.Deployments) == 0 {
		a.Deployments, b.Deployments = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

// info returns what the device is.
func (a *Agent) info() contracts.DeviceInfo {
	info := a.options.Info()
	if info.AgentVersion == "" {
		info.AgentVersion = a.options.Version
	}
	if info.StartedAt.IsZero() {
		info.StartedAt = a.startedAt.UTC().Truncate(time.Millisecond)
	}
	if info.Inventory.Runtimes == nil {
		for _, h := range a.hosts {
			info.Inventory.Runtimes = append(info.Inventory.Runtimes, h.runtime.Name())
		}
	}
	return info
}
