package deploy

import (
	"fmt"
	"strings"
)

// Outcome is what a run did, complete also when it failed.
type Outcome struct {
	Score  string `json:"score"`
	Target string `json:"target,omitempty"`
	Steps  []Step `json:"steps"`
}

// Step is what a run did for one resource or check.
type Step struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	// Change is what was found before anything was done; of resources alone.
	Change Change `json:"change"`
	// Attempts is how often it was tried.
	Attempts int `json:"attempts"`
}

// Changed returns how many resources were changed.
func (o Outcome) Changed() int {
	n := 0
	for _, step := range o.Steps {
		if step.State == StateChanged {
			n++
		}
	}
	return n
}

// Summary is the outcome in a few words.
func (o Outcome) Summary() string {
	count := map[State]int{}
	for _, step := range o.Steps {
		count[step.State]++
	}
	var parts []string
	switch {
	case count[StateChanged] > 0:
		parts = append(parts, fmt.Sprintf("%d changed, %d as they should be", count[StateChanged], count[StateUnchanged]))
	case count[StateUnchanged] > 0 && count[StateFailed]+count[StateCancelled] == 0:
		parts = append(parts, fmt.Sprintf("nothing to change: %d as they should be", count[StateUnchanged]))
	case count[StateUnchanged] > 0:
		parts = append(parts, fmt.Sprintf("nothing changed, %d as they should be", count[StateUnchanged]))
	}
	if n := count[StatePassed]; n == 1 {
		parts = append(parts, "1 check passed")
	} else if n > 1 {
		parts = append(parts, fmt.Sprintf("%d checks passed", n))
	}
	if n := count[StateFailed]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", n))
	}
	if n := count[StateCancelled]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d cancelled", n))
	}
	return strings.Join(parts, ", ")
}

// Plan is what an application would change.
type Plan struct {
	Score  string    `json:"score"`
	Target string    `json:"target,omitempty"`
	Steps  []Planned `json:"steps"`
}

// Planned is the change of one resource.
type Planned struct {
	ID     string `json:"id"`
	Change Change `json:"change"`
}

// Changes returns how many resources would be changed.
func (p Plan) Changes() int {
	n := 0
	for _, step := range p.Steps {
		if step.Change.Action != ActionNone {
			n++
		}
	}
	return n
}
