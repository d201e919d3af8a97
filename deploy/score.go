package deploy

import "context"

// Score is one thing to bring up. T is an interface of exactly the capabilities
// that it needs of a topology.
type Score[T any] interface {
	// Name says what is brought up, such as "agent pi-042".
	Name() string
	// Resources checks the Score's own input and returns what it wants to be
	// there, each after those it needs. It asks the topology nothing.
	Resources(topology T) ([]Resource, error)
	// Smoke uses what was brought up and returns nil when it works. It waits
	// until it does or ctx ends, and changes nothing that lasts.
	Smoke(ctx context.Context, topology T, progress Progress) error
}

// Resource is one thing that a Score wants to be there: a file, a package, a
// release of a chart.
type Resource interface {
	// ID names it, once within its Score, such as "file /etc/fleet-agent/config.toml".
	ID() string
	// Plan looks at the real thing and returns what Apply would change. It
	// changes nothing. What the change would need and Apply will bring is no
	// error: a service without its program yet is to be created.
	Plan(ctx context.Context, goal Goal) (Change, error)
	// Apply makes it so, and is called after Plan found a change. It may have
	// been interrupted anywhere before, and must never leave what looks finished
	// and is not. An error of kind domain.ErrUnavailable is tried again.
	Apply(ctx context.Context, goal Goal, progress Progress) error
}

// Goal is how a resource should be.
type Goal int

// The goals.
const (
	// Present resources are there, as the Score describes them.
	Present Goal = iota
	// Absent resources are gone, or kept on purpose, which their Change says.
	Absent
)

// Action is what happens to a resource.
type Action string

// The actions.
const (
	// ActionNone: it is as it should be.
	ActionNone Action = "none"
	// ActionCreate: it is not there.
	ActionCreate Action = "create"
	// ActionUpdate: it is there and differs.
	ActionUpdate Action = "update"
	// ActionDelete: it is there and should not be.
	ActionDelete Action = "delete"
)

// Change is the difference between a resource and its goal. It never holds a
// secret.
type Change struct {
	Action Action `json:"action"`
	// Summary says in a few words what is the case and what will be.
	Summary string `json:"summary,omitempty"`
	// Details are lines for those who want to know exactly, such as a diff.
	Details []string `json:"details,omitempty"`
}

// Unchanged is the Change of a resource that is as it should be.
func Unchanged(summary string) Change { return Change{Action: ActionNone, Summary: summary} }

// Progress takes short notes of what is being done. It never gets a secret.
type Progress func(note string)
