package memory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// confirmWithin is how long a new version may run without Confirm.
const confirmWithin = 5 * time.Minute

// Lifecycle is a host with versions of the agent on it. It outlives the agents.
type Lifecycle struct {
	mu sync.Mutex
	// files are what can be fetched, by URL.
	files map[string][]byte
	// staged says of each version on the host whether it is verified.
	staged map[string]bool
	broken map[string]bool
	// running is the version that acts, previous the one to return to.
	running, previous string
	// deadline is when an unconfirmed version gives way; zero when confirmed.
	deadline time.Time
}

var _ domain.AgentLifecycle = (*Lifecycle)(nil)

// NewLifecycle returns a host that runs the given version.
func NewLifecycle(version string) *Lifecycle {
	return &Lifecycle{
		files:   map[string][]byte{},
		staged:  map[string]bool{version: true},
		broken:  map[string]bool{},
		running: version,
	}
}

// Offer puts a file where Stage fetches it.
func (l *Lifecycle) Offer(url string, content []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files[url] = slices.Clone(content)
}

// Break makes the self-test of a version fail.
func (l *Lifecycle) Break(version string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken[version] = true
}

// Expire lets the time run out in which the running version must be confirmed.
func (l *Lifecycle) Expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.deadline.IsZero() {
		l.deadline = time.Now()
		l.expire()
	}
}

// Running returns the version that acts on the host.
func (l *Lifecycle) Running() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire()
	return l.running
}

// Versions returns the versions on the host, sorted.
func (l *Lifecycle) Versions() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.staged))
}

// Stage implements domain.AgentLifecycle. ErrUnavailable when nothing is
// offered at the URL.
func (l *Lifecycle) Stage(ctx context.Context, release domain.AgentRelease) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.begin(ctx); err != nil {
		return err
	}
	if _, ok := l.staged[release.Version]; ok {
		return nil
	}
	content, ok := l.files[release.URL]
	if !ok {
		return domain.Errorf(domain.ErrUnavailable, "agent %s cannot be fetched from %s", release.Version, release.URL)
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != release.SHA256 {
		return domain.Errorf(domain.ErrInvalid, "agent %s from %s does not have the promised SHA-256", release.Version, release.URL)
	}
	l.staged[release.Version] = false
	return nil
}

// Verify implements domain.AgentLifecycle.
func (l *Lifecycle) Verify(ctx context.Context, version string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.begin(ctx); err != nil {
		return err
	}
	if _, ok := l.staged[version]; !ok {
		return notFound("agent", version)
	}
	if l.broken[version] {
		return domain.Errorf(domain.ErrInvalid, "agent %s failed its self-test", version)
	}
	l.staged[version] = true
	return nil
}

// CutOver implements domain.AgentLifecycle: ErrNotFound when the version is not
// staged, ErrInvalid when it is not verified. Without Confirm the old version
// takes over after five minutes.
func (l *Lifecycle) CutOver(ctx context.Context, version string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.begin(ctx); err != nil {
		return err
	}
	verified, ok := l.staged[version]
	switch {
	case !ok:
		return notFound("agent", version)
	case !verified:
		return domain.Errorf(domain.ErrInvalid, "agent %s is not verified", version)
	case version == l.running:
		return nil
	}
	l.previous, l.running = l.running, version
	l.deadline = time.Now().Add(confirmWithin)
	return nil
}

// Confirm implements domain.AgentLifecycle: ErrConflict when the version does
// not run.
func (l *Lifecycle) Confirm(ctx context.Context, version string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.begin(ctx); err != nil {
		return err
	}
	if version != l.running {
		return domain.Errorf(domain.ErrConflict, "agent %s does not run, %s does", version, l.running)
	}
	l.deadline = time.Time{}
	return nil
}

// RollBack implements domain.AgentLifecycle.
func (l *Lifecycle) RollBack(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.begin(ctx); err != nil {
		return err
	}
	if l.previous == "" {
		return domain.Errorf(domain.ErrNotFound, "no other version of the agent ran before %s", l.running)
	}
	l.running, l.deadline = l.previous, time.Time{}
	return nil
}

// begin is called under the lock.
func (l *Lifecycle) begin(ctx context.Context) error {
	l.expire()
	return domain.WrapError(domain.ErrUnavailable, ctx.Err(), "the agent's versions were not touched")
}

// expire returns to the old version when nobody confirmed the new one in time.
func (l *Lifecycle) expire() {
	if !l.deadline.IsZero() && !time.Now().Before(l.deadline) {
		l.running, l.deadline = l.previous, time.Time{}
	}
}
