package main

import (
	"fmt"
	"io"
	"time"

	"github.com/nationtech/harmony-fleet/deploy"
)

// sign is how an action is shown in a plan.
func sign(action deploy.Action) string {
	switch action {
	case deploy.ActionCreate:
		return "+"
	case deploy.ActionUpdate:
		return "~"
	case deploy.ActionDelete:
		return "-"
	case deploy.ActionNone:
		return "="
	default:
		return "?"
	}
}

func (op *operation) writePlans(w io.Writer, results []result) {
	changes, failed := 0, 0
	for _, r := range results {
		fmt.Fprintln(w, r.Target)
		if r.Plan != nil {
			changes += r.Plan.Changes()
			for _, step := range r.Plan.Steps {
				fmt.Fprintf(w, "  %s %s: %s\n", sign(step.Change.Action), step.ID, step.Change.Summary)
				if op.options.details {
					for _, line := range step.Change.Details {
						fmt.Fprintln(w, "      "+line)
					}
				}
			}
		}
		if r.Failure != nil {
			failed++
			writeFailure(w, r.Failure)
		}
	}
	fmt.Fprintf(w, "%s to change", count(changes, "thing"))
	if failed > 0 {
		fmt.Fprintf(w, "; %s could not be looked at", count(failed, "target"))
	}
	fmt.Fprintln(w)
}

func writeFailure(w io.Writer, f *failure) {
	text := f.Error
	if f.Step != "" {
		text = f.Step + ": " + text
	}
	fmt.Fprintf(w, "  ✗ %s\n", text)
	if f.Next != "" {
		fmt.Fprintf(w, "    next: %s\n", f.Next)
	}
	for _, line := range f.Diagnosis {
		fmt.Fprintln(w, "    | "+line)
	}
}

func writeOutcomes(w io.Writer, results []result) {
	failed, changed := 0, 0
	for _, r := range results {
		fmt.Fprintf(w, "%s: %s, in %s\n", r.Target, r.Outcome.Summary(), r.took.Round(100*time.Millisecond))
		if r.Failure != nil {
			failed++
			writeFailure(w, r.Failure)
		}
		changed += r.Outcome.Changed()
	}
	if len(results) < 2 {
		return
	}
	fmt.Fprintf(w, "%s: %d well, %d failed; %s changed\n", count(len(results), "target"), len(results)-failed, failed, count(changed, "thing"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
