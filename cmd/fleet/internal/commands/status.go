package commands

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/live"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
	"github.com/nationtech/harmony-fleet/contracts"
)

// problemsShown is how many problems fit one screen.
const problemsShown = 20

// fleetStatus is the whole fleet, in -o json and -o yaml.
type fleetStatus struct {
	Server  string `json:"server"`
	Context string `json:"context,omitempty"`
	// Devices and Deployments count by status.
	Devices     map[show.DeviceStatus]int    `json:"devices"`
	Deployments map[show.DeploymentState]int `json:"deployments"`
	Problems    []fleetProblem               `json:"problems"`

	deployments []show.Deployment
}

// fleetProblem is one thing that somebody should look at.
type fleetProblem struct {
	// Object is "device/NAME", "deployment/NAME" or "DEVICE/DEPLOYMENT".
	Object  string `json:"object"`
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

func newStatusCommand(app *cli.App) *cobra.Command {
	var format string
	command := &cobra.Command{
		Use:   "status",
		Short: "Show the whole fleet on one screen",
		Long: `status shows how many devices are online, how each deployment is, and what is
wrong where. The exit code is 0 whenever the fleet could be asked.

-o json and -o yaml print server, context, devices (count by status),
deployments (count by status) and problems[]: object, status, message.`,
		Example: `  fleet status
  fleet status -o json`,
		Args: cli.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if !slices.Contains([]show.Format{show.FormatTable, show.FormatJSON, show.FormatYAML}, show.Format(format)) {
				return cli.Usagef("-o %s is unknown: use json or yaml", format)
			}
			return app.Do(command, func(ctx context.Context, session cli.Session) error {
				snapshot, err := live.Read(ctx, session.Fleet, live.Parts{Devices: true, State: true, Deployments: true, Statuses: true})
				if err != nil {
					return err
				}
				status := newFleetStatus(session, snapshot)
				if format != "" {
					return show.Write(command.OutOrStdout(), show.Format(format), status)
				}
				return status.print(command.OutOrStdout())
			})
		},
	}
	command.Flags().StringVarP(&format, "output", "o", "", "json or yaml")
	completeWords(command, "output", "json", "yaml")
	return command
}

func newFleetStatus(session cli.Session, snapshot *live.Snapshot) fleetStatus {
	status := fleetStatus{
		Server:      session.Target.Context.Server,
		Context:     session.Target.Name,
		Devices:     map[show.DeviceStatus]int{},
		Deployments: map[show.DeploymentState]int{},
		Problems:    []fleetProblem{},
		deployments: show.Deployments(snapshot),
	}
	for _, d := range status.deployments {
		status.Deployments[d.State]++
		if d.State == show.StateStalled {
			status.add("deployment/"+d.Name, string(d.State), condition(d, contracts.ConditionStalled))
		}
	}
	for _, d := range show.Devices(snapshot, clock(session)) {
		status.Devices[d.Status]++
		status.addDevice(d)
	}
	return status
}

func (s *fleetStatus) add(object, status, message string) {
	s.Problems = append(s.Problems, fleetProblem{Object: object, Status: status, Message: show.Clean(message)})
}

func (s *fleetStatus) addDevice(d show.Device) {
	switch d.Status {
	case show.DeviceRevoked:
		return // as somebody wanted
	case show.DeviceOffline:
		s.add("device/"+d.Name, string(d.Status), "last seen "+show.Ago(time.Now(), d.LastSeen)+" ago")
	case show.DeviceUnregistered:
		s.add("device/"+d.Name, string(d.Status), "it connects but is in no registry; last seen "+show.Ago(time.Now(), d.LastSeen)+" ago")
	case show.DeviceOnline, show.DeviceNeverSeen, show.DeviceDeleted:
	}
	if r := d.Refused; r != nil {
		s.add("device/"+d.Name, "Refusing", "desired state: "+show.Because(r.Reason, r.Message))
	}
	for _, deployment := range d.Deployments {
		switch contracts.Phase(deployment.Phase) {
		case contracts.PhaseFailed, contracts.PhaseDegraded:
			s.add(d.Name+"/"+deployment.Name, deployment.Phase, show.Because(deployment.Reason, deployment.Message))
		case contracts.PhaseRunning, contracts.PhasePending, contracts.PhaseRemoving:
		}
	}
}

func (s fleetStatus) print(out io.Writer) error {
	var p page
	fleet := s.Server
	if s.Context != "" {
		fleet += " (context " + s.Context + ")"
	}
	p.field("Fleet", fleet)
	p.field("Devices", counts(s.Devices, show.DeviceStatuses()))
	p.field("Deployments", counts(s.Deployments, show.DeploymentStates()))
	p.out.WriteString("\n")
	var rows [][]string
	for _, d := range s.deployments {
		running, targeted := 0, 0
		if d.Status != nil {
			running, targeted = d.Status.Running, d.Status.Targeted
		}
		rows = append(rows, []string{d.Name, fmt.Sprintf("%d/%d", running, targeted), string(d.State)})
	}
	if len(rows) > 0 {
		p.table("By deployment", []string{"NAME", "RUNNING", "STATUS"}, rows)
	}
	rows = nil
	for _, problem := range s.Problems[:min(len(s.Problems), problemsShown)] {
		rows = append(rows, []string{problem.Object, problem.Status, problem.Message})
	}
	p.table("Problems", []string{"OBJECT", "STATUS", "MESSAGE"}, rows)
	if more := len(s.Problems) - problemsShown; more > 0 {
		fmt.Fprintf(&p.out, "  and %d more: see `fleet status -o json`\n", more)
	}
	_, err := io.WriteString(out, p.out.String())
	return err
}

// counts is "10 (9 online, 1 offline)".
func counts[K ~string](by map[K]int, order []K) string {
	total := 0
	var parts []string
	for _, status := range order {
		if n := by[status]; n > 0 {
			total += n
			parts = append(parts, fmt.Sprintf("%d %s", n, words(string(status))))
		}
	}
	if total == 0 {
		return "none"
	}
	return fmt.Sprintf("%d (%s)", total, strings.Join(parts, ", "))
}

// words is a status in lower case, "NeverSeen" as "never seen".
func words(status string) string {
	var out strings.Builder
	for i, r := range status {
		if i > 0 && r >= 'A' && r <= 'Z' {
			out.WriteByte(' ')
		}
		out.WriteRune(r)
	}
	return strings.ToLower(out.String())
}

// condition is the message of a deployment's condition.
func condition(d show.Deployment, t contracts.ConditionType) string {
	if d.Status == nil {
		return ""
	}
	for _, c := range d.Status.Conditions {
		if c.Type == string(t) {
			return show.Because(c.Reason, c.Message)
		}
	}
	return ""
}
