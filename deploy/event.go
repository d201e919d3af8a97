package deploy

// Event is one thing that happened in a run.
type Event struct {
	Score  string `json:"score"`
	Target string `json:"target,omitempty"`
	// Step is the ID of a resource or the name of a check; empty for the whole run.
	Step  string `json:"step,omitempty"`
	State State  `json:"state"`
	// Message is the change, a note of the work, or the error.
	Message string `json:"message,omitempty"`
	// Steps are the IDs of all steps; set in the first event of a run alone.
	Steps []string `json:"steps,omitempty"`
}

// State is how far a step is.
type State string

// The states. A step ends in one of the last five.
const (
	StateStarted  State = "started" // of the whole run
	StateLooking  State = "looking"
	StateWorking  State = "working"
	StateRetrying State = "retrying"

	StateUnchanged State = "unchanged"
	StateChanged   State = "changed"
	StatePassed    State = "passed" // of a check
	StateFailed    State = "failed"
	StateCancelled State = "cancelled"
	StateFinished  State = "finished" // of the whole run
)

// Ended says whether nothing more follows for the step.
func (s State) Ended() bool {
	switch s {
	case StateUnchanged, StateChanged, StatePassed, StateFailed, StateCancelled, StateFinished:
		return true
	default:
		return false
	}
}
