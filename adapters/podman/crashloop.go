package podman

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
)

const (
	// stableAfter is how long a service must run for its crashes to be forgotten.
	stableAfter = 10 * time.Second
	// loopAfter is how many early ends in a row are a crash loop.
	loopAfter = 3
	// firstHold doubles with every start of a service in a crash loop.
	firstHold = 10 * time.Second
	mostHold  = 5 * time.Minute
)

// crashes remembers how containers ended. What it forgets with the process
// only makes a crash loop be noticed a few restarts later.
//
// Docker waits longer and longer between restarts, Podman restarts at once,
// several times a second, and now and then gives up for good. With Podman,
// services in a crash loop are therefore held: stopped, and started again
// after a back-off.
type crashes struct {
	mu    sync.Mutex
	known map[string]*crashRecord // by container ID
}

type crashRecord struct {
	// forgiven is the number of restarts at the time it last ran stably.
	forgiven uint64
	// exitCode is that of the end before the restart with that number.
	exitCode *int
	exitOf   uint64
	holds    int
	until    time.Time
}

// observe takes in what a container is like now and reports whether it is in a
// crash loop. restarts are all since the container was made.
func (m *crashes) observe(c container, restarts uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	record := m.record(c.ID)
	if c.State.Running() {
		if uptime(c.State) >= stableAfter {
			record.forgiven, record.holds, record.until = restarts, 0, time.Time{}
		}
	}
	return restarts >= record.forgiven+loopAfter
}

// ended remembers the exit code of the end before a restart.
func (m *crashes) ended(id string, restarts uint64, exitCode int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	record := m.record(id)
	record.exitOf, record.exitCode = restarts, &exitCode
}

// exitCode returns that of the end before a restart, false when not known.
func (m *crashes) exitCode(id string, restarts uint64) (*int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	record := m.record(id)
	return record.exitCode, record.exitCode != nil && record.exitOf == restarts
}

// hold begins a new back-off.
func (m *crashes) hold(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	record := m.record(id)
	record.until = time.Now().Add(min(firstHold<<min(record.holds, 10), mostHold))
	record.holds++
}

// held reports whether the container must stay stopped for now; begun, whether
// a back-off was begun for it since it was last started.
func (m *crashes) held(id string) (held, begun bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	until := m.record(id).until
	return time.Now().Before(until), !until.IsZero()
}

// started ends the back-off.
func (m *crashes) started(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.record(id).until = time.Time{}
}

// keep forgets all containers but those.
func (m *crashes) keep(containers []container) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := make(map[string]*crashRecord, len(containers))
	for _, c := range containers {
		if record, ok := m.known[c.ID]; ok {
			kept[c.ID] = record
		}
	}
	m.known = kept
}

func (m *crashes) record(id string) *crashRecord {
	if m.known == nil {
		m.known = map[string]*crashRecord{}
	}
	record, ok := m.known[id]
	if !ok {
		record = &crashRecord{}
		m.known[id] = record
	}
	return record
}

// uptime is how long the main process has run, by the kernel's clock where the
// process can be seen: the wall clock of a device may jump by years.
func uptime(state engine.State) time.Duration {
	if ran, ok := processAge(state.Pid); ok {
		return ran
	}
	return time.Since(state.StartedAt)
}

// processAge reads when a process started, in ticks of 10 ms since boot.
func processAge(pid int) (time.Duration, bool) {
	if pid <= 0 {
		return 0, false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	boot, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, false
	}
	// The name in parentheses may hold anything; the start is 20 fields on.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	since, _, _ := strings.Cut(string(boot), " ")
	if len(fields) < 20 {
		return 0, false
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	seconds, err2 := strconv.ParseFloat(since, 64)
	if err != nil || err2 != nil {
		return 0, false
	}
	return time.Duration(seconds*float64(time.Second)) - time.Duration(ticks)*10*time.Millisecond, true
}
