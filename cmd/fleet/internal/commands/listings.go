package commands

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/live"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/selector"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
)

func deviceListing(session cli.Session) listing[show.Device] {
	return listing[show.Device]{
		kind:   kindDevice,
		parts:  live.Parts{Devices: true, State: true},
		all:    func(snapshot *live.Snapshot) []show.Device { return show.Devices(snapshot, clock(session)) },
		name:   func(d show.Device) string { return d.Name },
		labels: func(d show.Device) map[string]string { return d.Labels },
		header: func(wide bool) []string {
			header := []string{"NAME", "STATUS", "DEPLOYMENTS", "AGENT", "LAST-SEEN"}
			if wide {
				header = append(header, "LABELS")
			}
			return header
		},
		row: func(d show.Device, wide bool) []string {
			running, total := d.Running()
			row := []string{d.Name, deviceStatus(d.Status), fmt.Sprintf("%d/%d", running, total), orDash(d.AgentVersion), show.Ago(time.Now(), d.LastSeen)}
			if wide {
				row = append(row, orDash(strings.Join(selector.FormatLabels(d.Labels), ",")))
			}
			return row
		},
		still: func(d show.Device) show.Device {
			d.LastSeen = nil
			return d
		},
		gone: func(d show.Device) show.Device {
			d.Status = show.DeviceDeleted
			return d
		},
	}
}

func deploymentListing() listing[show.Deployment] {
	return listing[show.Deployment]{
		kind:   kindDeployment,
		parts:  live.Parts{Deployments: true, Statuses: true},
		all:    show.Deployments,
		name:   func(d show.Deployment) string { return d.Name },
		labels: func(d show.Deployment) map[string]string { return d.Labels },
		header: func(wide bool) []string {
			header := []string{"NAME", "TARGETED", "UPDATED", "RUNNING", "FAILED", "OFFLINE", "STATUS", "AGE"}
			if wide {
				header = append(header, "GENERATION", "PENDING", "DEGRADED", "SCORE", "SELECTOR", "PROBLEM")
			}
			return header
		},
		row: deploymentRow,
		still: func(d show.Deployment) show.Deployment {
			d.CreatedAt = nil
			if d.Status != nil {
				status := *d.Status
				status.UpdatedAt, d.Status = nil, &status
			}
			return d
		},
		gone: func(d show.Deployment) show.Deployment {
			d.State = show.StateDeleted
			return d
		},
	}
}

func deploymentRow(d show.Deployment, wide bool) []string {
	age := "-"
	if d.CreatedAt != nil {
		age = show.Ago(time.Now(), d.CreatedAt)
	}
	status := show.DeploymentStatus{}
	number := func(int) string { return "-" }
	if d.Status != nil {
		status, number = *d.Status, strconv.Itoa
	}
	row := []string{
		d.Name, number(status.Targeted), number(status.Updated), number(status.Running),
		number(status.Failed), number(status.Offline), string(d.State), age,
	}
	if !wide {
		return row
	}
	generation, score, chosen, problem := "-", "-", "-", "-"
	if d.Spec != nil {
		generation, score, chosen = strconv.FormatUint(d.Generation, 10), string(d.Spec.Score.Type), selectorText(d)
	}
	if len(status.Problems) > 0 {
		worst := status.Problems[0]
		problem = worst.Device + ": " + show.Because(worst.Reason, worst.Message)
	}
	return append(row, generation, number(status.Pending), number(status.Degraded), score, chosen, problem)
}

// selectorText is the selector as kubectl writes it.
func selectorText(d show.Deployment) string {
	if d.Spec == nil || d.Spec.TargetSelector == nil {
		return "-"
	}
	if text := selector.Format(*d.Spec.TargetSelector); text != "" {
		return text
	}
	return "(every device)"
}

// deviceStatus is the status in words.
func deviceStatus(status show.DeviceStatus) string {
	if status == show.DeviceNeverSeen {
		return "Never seen"
	}
	return string(status)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
