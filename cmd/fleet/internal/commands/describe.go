package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/live"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/selector"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// recentCount is how many events describe shows.
const recentCount = 10

func newDescribeCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "describe (device|deployment) NAME…",
		Short: "Tell all about a device or a deployment",
		Long: `describe tells all that is known about devices or deployments, for people:
counts, conditions, problems with their reasons, and recent events. For scripts
use "fleet get … -o json". The values of environment variables are not shown.`,
		Example: `  fleet describe device paris-01
  fleet describe deployment web`,
		Args:              cli.AtLeastOne("device or deployment, such as `describe device NAME`"),
		ValidArgsFunction: completeObjects(app, kindDevice, kindDeployment),
		RunE: func(command *cobra.Command, args []string) error {
			k, names, err := parseObjects(args, kindDevice, kindDeployment)
			if err != nil {
				return err
			}
			if len(names) == 0 {
				return cli.Usagef("which %s? name at least one", k)
			}
			return app.Do(command, func(ctx context.Context, session cli.Session) error {
				if k == kindDevice {
					return describeDevices(ctx, session, names, command.OutOrStdout())
				}
				return describeDeployments(ctx, session, names, command.OutOrStdout())
			})
		},
	}
}

func describeDevices(ctx context.Context, session cli.Session, names []string, out io.Writer) error {
	l := deviceListing(session)
	return describe(ctx, session, l, names, func(d show.Device) error {
		events, err := recentEvents(ctx, session.Events, domain.EventQuery{Device: contracts.DeviceID(d.Name)}, recentCount)
		if err != nil {
			return err
		}
		return describeDevice(out, d, events)
	})
}

func describeDeployments(ctx context.Context, session cli.Session, names []string, out io.Writer) error {
	return describe(ctx, session, deploymentListing(), names, func(d show.Deployment) error {
		events, err := recentEvents(ctx, session.Events, domain.EventQuery{Deployment: contracts.DeploymentName(d.Name)}, recentCount)
		if err != nil {
			return err
		}
		return describeDeployment(out, d, events)
	})
}

// describe calls tell with each thing that is named, in the order of the names.
func describe[T any](ctx context.Context, session cli.Session, l listing[T], names []string, tell func(T) error) error {
	snapshot, err := live.Read(ctx, session.Fleet, l.parts)
	if err != nil {
		return err
	}
	found := l.choose(snapshot, query{names: names})
	var wrong []error
	for _, name := range names {
		i := slices.IndexFunc(found, func(thing T) bool { return l.name(thing) == name })
		if i < 0 {
			wrong = append(wrong, missing(l.kind, name))
			continue
		}
		if err := tell(found[i]); err != nil {
			return err
		}
	}
	return errors.Join(wrong...)
}

// page is a description: fields, then tables.
type page struct {
	out strings.Builder
}

const fieldWidth = 16

// field writes "Name:  value", and further values below the first. Without a
// value it writes nothing.
func (p *page) field(name string, values ...string) {
	label := name + ":"
	for _, value := range values {
		if value == "" {
			continue
		}
		fmt.Fprintf(&p.out, "%-*s%s\n", fieldWidth, label, show.Clean(value))
		label = ""
	}
}

// table writes a titled table, or says that there is nothing.
func (p *page) table(title string, header []string, rows [][]string) {
	if len(rows) == 0 {
		p.field(title, "none")
		return
	}
	p.out.WriteString(title + ":\n")
	_ = show.NewTable(&p.out, header...).Indent(2).Write(rows...) // a builder takes everything
}

func (p *page) events(events []show.Event) {
	rows := make([][]string, len(events))
	for i, e := range events {
		rows[i] = eventRow(e)
	}
	p.table("Recent events", eventHeader(), rows)
}

// writeTo writes the page, and an empty line to part it from the next.
func (p *page) writeTo(out io.Writer) error {
	_, err := io.WriteString(out, p.out.String()+"\n")
	return err
}

func describeDevice(out io.Writer, d show.Device, events []show.Event) error {
	var p page
	now := time.Now()
	seen := "never seen"
	if d.LastSeen != nil {
		seen = "last seen " + show.Ago(now, d.LastSeen) + " ago"
	}
	p.field("Name", d.Name)
	p.field("Status", fmt.Sprintf("%s (%s)", deviceStatus(d.Status), seen))
	p.field("Registered", moment(now, d.RegisteredAt))
	p.field("Labels", selector.FormatLabels(d.Labels)...)
	p.field("Agent", d.AgentVersion)
	p.field("Agent started", moment(now, d.StartedAt))
	p.field("Boot ID", d.BootID)
	if i := d.Inventory; i != nil {
		p.field("Hostname", i.Hostname)
		p.field("Model", i.Model)
		p.field("Serial", i.Serial)
		p.field("Machine ID", i.MachineID)
		p.field("System", join(", ", i.OS, i.Kernel, i.Architecture))
		p.field("Hardware", join(", ", count(i.CPUs, "CPU"), size(i.MemoryBytes, "memory"), size(i.DiskBytes, "disk")))
		p.field("Runtimes", strings.Join(i.Runtimes, ", "))
	}
	p.field("Desired state", fmt.Sprintf("generation %d applied", d.AppliedGeneration))
	if r := d.Refused; r != nil {
		p.field("Refused", fmt.Sprintf("generation %d: %s", r.Generation, show.Because(r.Reason, r.Message)))
	}
	if u := d.Upgrade; u != nil {
		p.field("Upgrade", fmt.Sprintf("to %s: %s", u.Version, show.Because(u.Phase, u.Message)))
	}
	var deployments, services [][]string
	for _, deployment := range d.Deployments {
		deployments = append(deployments, []string{
			deployment.Name, fmt.Sprint(deployment.Generation), deployment.Phase, show.Age(now.Sub(deployment.Since)),
			orDash(show.Because(deployment.Reason, deployment.Message)),
		})
		for _, s := range deployment.Services {
			exit, pid := "-", "-"
			if s.PID != 0 {
				pid = fmt.Sprint(s.PID)
			}
			if s.ExitCode != nil {
				exit = fmt.Sprint(*s.ExitCode)
			}
			services = append(services, []string{deployment.Name + "/" + s.Name, s.State, pid, fmt.Sprint(s.Restarts), exit, orDash(s.Image), orDash(s.ImageDigest)})
		}
	}
	p.table("Deployments", []string{"NAME", "GENERATION", "PHASE", "SINCE", "REASON"}, deployments)
	p.table("Services", []string{"NAME", "STATE", "PID", "RESTARTS", "LAST-EXIT", "IMAGE", "DIGEST"}, services)
	p.events(events)
	return p.writeTo(out)
}

func describeDeployment(out io.Writer, d show.Deployment, events []show.Event) error {
	var p page
	now := time.Now()
	p.field("Name", d.Name)
	p.field("Status", string(d.State))
	if d.Spec != nil {
		p.field("Generation", fmt.Sprint(d.Generation))
		p.field("Labels", selector.FormatLabels(d.Labels)...)
		p.field("Managed by", d.Origin)
		p.field("Created", moment(now, d.CreatedAt))
		p.field("Changed", moment(now, d.UpdatedAt))
		p.field("Change cause", d.ChangeCause)
		p.field("Selector", selectorText(d))
		p.field("Score", string(d.Spec.Score.Type))
		p.field("Services", services(d.Spec.Score)...)
	}
	if s := d.Status; s == nil {
		p.field("Devices", "the operator has not acted upon it yet")
	} else {
		p.field("Devices",
			fmt.Sprintf("%d targeted, %d updated to generation %d", s.Targeted, s.Updated, s.ObservedGeneration),
			fmt.Sprintf("%d running, %d pending, %d degraded, %d failed", s.Running, s.Pending, s.Degraded, s.Failed),
			fmt.Sprintf("%d offline, counted above by what they last said", s.Offline))
		var conditions, problems [][]string
		for _, c := range s.Conditions {
			conditions = append(conditions, []string{c.Type, c.Status, show.Age(now.Sub(c.LastTransitionTime)), c.Reason, c.Message})
		}
		for _, problem := range s.Problems {
			problems = append(problems, []string{problem.Device, problem.Phase, orDash(problem.Reason), problem.Message})
		}
		p.table("Conditions", []string{"TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"}, conditions)
		p.table("Problems", []string{"DEVICE", "PHASE", "REASON", "MESSAGE"}, problems)
	}
	p.events(events)
	return p.writeTo(out)
}

// services names what a score runs, never its variables or arguments.
func services(score contracts.ReconcileScore) []string {
	var list []string
	if podman, err := score.PodmanV0(); score.Type == contracts.ScorePodmanV0 && err == nil {
		for _, s := range podman.Services {
			list = append(list, join(" ", s.Name, s.Image, strings.Join(s.Ports, " ")))
		}
	}
	if process, err := score.ProcessV0(); score.Type == contracts.ScoreProcessV0 && err == nil {
		for _, s := range process.Services {
			list = append(list, join(" ", s.Name, s.Command[0]))
		}
	}
	return list
}

// moment is a time with its age, "" for none.
func moment(now time.Time, t *time.Time) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format(time.RFC3339), show.Ago(now, t))
}

// join joins what is not empty.
func join(separator string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), separator)
}

func count(n int, noun string) string {
	if n == 0 {
		return ""
	}
	return show.Plural(n, noun)
}

func size(bytes int64, noun string) string {
	if bytes == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f GiB %s", float64(bytes)/(1<<30), noun)
}
