package domain

// Revision orders the writes to one store. It rises with every write; zero
// means "not stored". Revisions of different stores cannot be compared.
type Revision uint64

// ChangeKind says what a Change is.
type ChangeKind int

// The kinds of change.
const (
	// ChangePut: Value is what Key now holds.
	ChangePut ChangeKind = iota + 1
	// ChangeDeleted: Key holds nothing any more; Value is zero.
	ChangeDeleted
	// ChangeCaughtUp: everything that was stored when the watch began has been
	// delivered. Sent exactly once, with zero Key and Value.
	ChangeCaughtUp
)

// Change is one step of a watch.
//
// Every Watch in this package keeps the same protocol. It delivers what is
// stored and is newer than the given revision (all of it for revision zero;
// deletions too when the revision is not zero), then one ChangeCaughtUp, then
// each later change, in order of revision for each key. Changes to one key may
// be merged into the last. Watch blocks; it returns nil after ctx is
// cancelled, or the first error that handle returns, and calls handle from one
// goroutine at a time and never after it returned. It goes on across lost
// connections. It returns an error of kind ErrUnavailable when it can no
// longer promise that nothing was missed; the caller then watches again from
// revision zero.
type Change[K ~string, V any] struct {
	Kind     ChangeKind
	Key      K
	Value    V
	Revision Revision
}
