package local

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText prints the status on one screen; now is the time that ages count to.
func WriteText(w io.Writer, s Status, now time.Time) error {
	var text strings.Builder
	facts := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(facts, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line("Device", "%s", s.Device)
	if s.Running {
		line("Agent", "%s, up %s (since %s)", s.Version, age(s.StartedAt, now), clock(s.StartedAt))
	} else {
		line("Agent", "does not run; this is on disk, with phases as last saved")
	}
	if s.Identity != nil {
		line("Identity", "%s", s.Identity.text(now))
	}
	if s.Link != nil {
		line("Link", "%s", s.Link.text(now))
	}
	line("Desired state", "%s", s.desired())
	if s.DesiredProblem != "" {
		line("Problem", "%s", s.DesiredProblem)
	}
	if s.Refused != nil {
		line("Refused", "generation %d, %s: %s", s.Refused.Generation, s.Refused.Reason, s.Refused.Message)
	}
	for _, runtime := range s.Runtimes {
		line("Runtime", "%s: %s", runtime.Name, runtime.text(now))
	}
	if s.Running && len(s.Runtimes) == 0 {
		line("Runtime", "none: nothing can run on this device")
	}
	_ = facts.Flush() // a strings.Builder takes everything
	writeDeployments(&text, s.Deployments, now)
	_, err := io.WriteString(w, text.String())
	return err
}

func (i Identity) text(now time.Time) string {
	known := fmt.Sprintf("%s at %s, key %s", i.UserID, i.Issuer, i.KeyID)
	switch {
	case i.KeyExpiresAt.IsZero():
		return known
	case now.Before(i.KeyExpiresAt):
		return fmt.Sprintf("%s for %s (until %s)", known, age(now, i.KeyExpiresAt), clock(i.KeyExpiresAt))
	default:
		return fmt.Sprintf("%s, which expired %s ago: enroll the device anew", known, age(i.KeyExpiresAt, now))
	}
}

func (l Link) text(now time.Time) string {
	if l.Connected {
		return fmt.Sprintf("connected to %s for %s (since %s)", l.Server, age(l.Since, now), clock(l.Since))
	}
	return fmt.Sprintf("not connected for %s (since %s): %s", age(l.Since, now), clock(l.Since), cmp.Or(l.Problem, "still trying"))
}

func (r Runtime) text(now time.Time) string {
	switch {
	case r.Problem != "":
		return r.Problem
	case r.SeenAt.IsZero():
		return "not looked at yet"
	default:
		return "works, looked at " + age(r.SeenAt, now) + " ago"
	}
}

func (s Status) desired() string {
	if s.DesiredGeneration == 0 {
		return "none yet"
	}
	if !s.Running {
		return fmt.Sprintf("generation %d", s.DesiredGeneration)
	}
	applied := 0
	for _, d := range s.Deployments {
		if d.AppliedGeneration != nil && *d.AppliedGeneration == d.Generation {
			applied++
		}
	}
	return fmt.Sprintf("generation %d, %d of %d deployments applied", s.DesiredGeneration, applied, len(s.Deployments))
}

func writeDeployments(text *strings.Builder, deployments []Deployment, now time.Time) {
	if len(deployments) == 0 {
		return
	}
	text.WriteString("\n")
	table := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "DEPLOYMENT\tPHASE\tREASON\tSINCE\tRESTARTS\tDESIRED\tAPPLIED\tNEXT RETRY")
	for _, d := range deployments {
		applied, retry, since := "?", "-", "-"
		if d.AppliedGeneration != nil {
			applied = fmt.Sprint(*d.AppliedGeneration)
		}
		if d.NextRetry.After(now) {
			retry = "in " + age(now, d.NextRetry)
		}
		if !d.Since.IsZero() {
			since = age(d.Since, now)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", d.Name,
			cmp.Or(string(d.Phase), "?"), cmp.Or(string(d.Reason), "-"), since, d.Restarts, d.Generation, applied, retry)
	}
	_ = table.Flush()
	for _, d := range deployments {
		if d.Message != "" {
			fmt.Fprintf(text, "\n%s: %s\n", d.Name, d.Message)
		}
	}
}

// age is a time span for people; a clock that was set back makes it 0s.
func age(from, to time.Time) string {
	span := max(to.Sub(from), 0)
	switch {
	case span < time.Minute:
		return fmt.Sprintf("%ds", int(span.Seconds()))
	case span < time.Hour:
		return fmt.Sprintf("%dm", int(span.Minutes()))
	case span < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(span.Hours()), int(span.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(span.Hours())/24)
	}
}

func clock(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") }
