package agent

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// nowhere is the host of a deployment that no runtime can run.
const nowhere = -1

// task is one deployment that is wanted, or still on the host. The lock of the
// agent protects it; its worker alone calls runtimes for it.
type task struct {
	name contracts.DeploymentName
	// bell wakes the worker.
	bell chan struct{}

	// want is nil when the deployment shall be removed.
	want *contracts.DesiredDeployment
	// generation is that of the last deployment wanted or, before any was, the one
	// found on the host.
	generation uint64
	// host is the index of the runtime to run it, nowhere when there is none.
	host int
	// hopeless is why it cannot be run whatever the host does.
	hopeless *domain.WorkloadError
	// revision changes with want, so that a step that was overtaken is known.
	revision uint64

	// due asks for an Apply.
	due bool
	// applied is set once Apply succeeded for this revision and has not failed
	// since.
	applied bool
	// cancel ends the step under way, nil when there is none.
	cancel context.CancelFunc
	// progress is what a long Apply said last.
	progress *progress
	failure  *domain.WorkloadError
	failures int
	// retryAt is when a failed step is tried again, zero when none failed.
	retryAt time.Time

	// homes are the hosts on which something of it is or may be.
	homes map[int]home
}

type progress struct {
	reason  contracts.Reason
	message string
}

// home is a host on which something of a deployment is or may be.
type home struct {
	// touched is when the agent last changed it, in the agent's logical clock.
	// What was seen by a look that began before says nothing.
	touched uint64
	// removed is set once Remove succeeded and until a look confirms it.
	removed bool
	// attempts counts failed removals, so that one host that fails does not keep
	// another from its turn.
	attempts int
}

// task returns the deployment's task, and makes it with its worker when there is
// none. Call it under the lock.
func (a *Agent) task(ctx context.Context, name contracts.DeploymentName) *task {
	if t, ok := a.tasks[name]; ok {
		return t
	}
	t := &task{name: name, bell: make(chan struct{}, 1), generation: 1, host: nowhere, homes: map[int]home{}}
	a.tasks[name] = t
	a.running.Go(func() { a.work(ctx, t) })
	return t
}

// set changes what is wanted, nil for nothing. A step under way is cancelled and
// back-offs are forgotten, unless nothing has changed.
func (t *task) set(want *contracts.DesiredDeployment, hosts []*host) {
	if sameWant(t.want, want) {
		return
	}
	t.want = want
	t.revision++
	t.applied, t.progress = false, nil
	t.host, t.hopeless = nowhere, nil
	if want != nil {
		t.generation = want.Generation
		t.host, t.hopeless = place(want.Score, hosts)
	}
	if t.cancel != nil {
		t.cancel()
	}
	t.retry()
}

// retry makes the next step happen now.
func (t *task) retry() {
	t.failure, t.failures, t.retryAt = nil, 0, time.Time{}
	t.due = t.want != nil
	ring(t.bell)
}

func sameWant(a, b *contracts.DesiredDeployment) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Generation == b.Generation && a.Score.Type == b.Score.Type && bytes.Equal(a.Score.Data, b.Score.Data)
}

// place chooses the host for a score, or says why there is none.
func place(score contracts.ReconcileScore, hosts []*host) (int, *domain.WorkloadError) {
	i := slices.IndexFunc(hosts, func(h *host) bool { return h.runtime.Supports(score.Type) })
	if i < 0 {
		return nowhere, &domain.WorkloadError{
			Reason:  contracts.ReasonUnsupportedScore,
			Message: unsupported(score.Type, hosts),
		}
	}
	var err error
	switch score.Type {
	case contracts.ScorePodmanV0:
		_, err = score.PodmanV0()
	case contracts.ScoreProcessV0:
		_, err = score.ProcessV0()
	}
	if err != nil {
		return nowhere, &domain.WorkloadError{
			Reason:  contracts.ReasonInvalidScore,
			Message: fmt.Sprintf("the data of the %s score cannot be used: %v", score.Type, err),
			Cause:   err,
		}
	}
	return i, nil
}

func unsupported(score contracts.ScoreType, hosts []*host) string {
	if len(hosts) == 0 {
		return fmt.Sprintf("scores of type %q cannot run here: this device has no workload runtime", score)
	}
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.runtime.Name()
	}
	return fmt.Sprintf("scores of type %q cannot run here: the runtimes of this device are %q", score, names)
}

// stepKind is what a worker does next.
type stepKind int

const (
	stepWait stepKind = iota
	stepApply
	stepRemove
	stepDone
)

// step is what a worker does next, decided under the lock and done outside of it.
type step struct {
	kind     stepKind
	host     int
	revision uint64
	workload domain.Workload
	// wait is how long to wait for the bell, 0 for ever.
	wait time.Duration
}

// next decides what the worker does. A workload that another runtime still has is
// removed there first. When no runtime can run what is wanted, what runs of an
// earlier generation is left running.
func (t *task) next(now time.Time) step {
	s := step{host: t.host, revision: t.revision}
	if t.hopeless != nil {
		return s
	}
	if wait := t.retryAt.Sub(now); wait > 0 && !t.retryAt.IsZero() {
		s.wait = wait
		return s
	}
	if stray := t.stray(); stray != nowhere {
		s.kind, s.host = stepRemove, stray
		return s
	}
	switch {
	case t.want == nil && len(t.homes) == 0:
		s.kind = stepDone
	case t.want != nil && t.due:
		s.kind = stepApply
		s.workload = domain.Workload{Name: t.name, Generation: t.want.Generation, Score: t.want.Score}
		t.due = false
	}
	return s
}

// stray returns a host that has something to be removed, nowhere when none has.
func (t *task) stray() int {
	found := nowhere
	for _, i := range slices.Sorted(maps.Keys(t.homes)) {
		h := t.homes[i]
		if i != t.host && !h.removed && (found == nowhere || h.attempts < t.homes[found].attempts) {
			found = i
		}
	}
	return found
}

// fail notes that a step failed and when it is tried again.
func (t *task) fail(err *domain.WorkloadError, options Options) {
	t.failures++
	t.failure = err
	t.retryAt = time.Now().Add(options.backoff(t.failures))
	t.applied, t.progress = false, nil
	t.due = t.want != nil
}
