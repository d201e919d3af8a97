package deploy

import "context"

// Companion goes with a run without the Score knowing of it: an observer, a
// further check, a diagnosis. Each part may be nil.
type Companion struct {
	// Name names the companion's check in events and errors.
	Name string
	// Observe gets each event in order, for several targets from several
	// goroutines, and must not block for long.
	Observe func(Event)
	// Check is run after the Score's own smoke test, under the same rules.
	Check func(ctx context.Context, progress Progress) error
	// Diagnose is asked after a failure for what may explain it, such as log
	// lines. It must not return secrets; its own error is told, not returned.
	Diagnose func(ctx context.Context, failure *Error) ([]string, error)
}
