// Package process runs workloads as supervised processes of the host itself,
// for hosts without containers.
//
// A process belongs to the host, not to the agent: it leads a session of its
// own, writes to a file that it holds itself, and goes on when the agent ends.
// The next agent adopts it by its recorded ID, start time and boot ID. Under
// systemd the agent's unit needs KillMode=process for that, or systemd ends
// the processes together with the agent.
//
// Layout below the runtime's directory: <deployment>/deployment.json, and for
// each service <deployment>/<service>/service.json (0600, holds the
// environment), log, log.1 and work.
//
// What belongs to a service is found by session and by a mark in the
// environment. A descendant that leaves the session and also drops or
// overwrites its environment, or changes its user, escapes; so does nothing
// else. Two agents of one user that see each other's processes must not use
// the same directory path.
package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Runtime is a domain.WorkloadRuntime of processes.
type Runtime struct {
	dir     string
	mark    string
	options Options
	host    host
	lock    dirLock
	hints   hints
	added   chan struct{} // wakes Run

	mu          sync.Mutex
	deployments map[contracts.DeploymentName]*deployment
}

// deployment is guarded by Runtime.mu.
type deployment struct {
	name       contracts.DeploymentName
	generation uint64
	services   map[string]*service
}

var _ domain.WorkloadRuntime = (*Runtime)(nil)

// New reads what earlier agents left in dir, making it if needed, and adopts
// the processes among it that still run. It returns an error of kind
// ErrConflict while another runtime supervises dir. File descriptors that the
// agent got from whoever started it are no longer passed on to any program.
func New(dir string, o Options) (*Runtime, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the workload directory: %w", err)
	}
	if err := os.MkdirAll(dir, dirPermission); err != nil {
		return nil, fmt.Errorf("make the workload directory: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("find the workload directory: %w", err)
	}
	boot, err := readBootID()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(dir))
	options := o.withDefaults()
	r := &Runtime{
		dir:         dir,
		mark:        hex.EncodeToString(sum[:8]),
		options:     options,
		host:        host{boot: boot, openPIDFD: unix.PidfdOpen, poll: options.PollInterval},
		lock:        dirLock{path: filepath.Join(dir, lockFile)},
		added:       make(chan struct{}, 1),
		deployments: map[contracts.DeploymentName]*deployment{},
	}
	if err := r.lock.look(); err != nil {
		return nil, err
	}
	if err := keepDescriptors(); err != nil {
		return nil, err
	}
	return r, r.load()
}

// Name returns "process" with the kernel's release.
func (r *Runtime) Name() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return "process"
	}
	return "process linux-" + unix.ByteSliceToString(name.Release[:])
}

// Supports reports true for ProcessV0 alone.
func (r *Runtime) Supports(score contracts.ScoreType) bool { return score == contracts.ScoreProcessV0 }

// Run supervises the processes: it restarts them as their policy says and
// bounds their logs. It blocks until ctx is cancelled and returns nil then; the
// processes go on. It returns an error of kind ErrConflict when another runtime
// supervises the directory, or did so since New: build a new runtime then.
func (r *Runtime) Run(ctx context.Context) error {
	held, err := r.lock.take()
	if err != nil {
		return err
	}
	defer r.lock.release(held)
	events := newFileEvents(r.host.poll)
	defer events.close()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { r.cutLogs(ctx, events) })
	supervised := map[*service]bool{}
	for {
		present := map[*service]bool{}
		for _, s := range r.services() {
			present[s] = true
			s.watchLog(events)
			if !supervised[s] {
				running.Go(func() { s.supervise(ctx) })
			}
		}
		supervised = present
		select {
		case <-ctx.Done():
			return nil
		case <-r.added:
		}
	}
}

func (r *Runtime) wakeRun() {
	select {
	case r.added <- struct{}{}:
	default:
	}
}

// cutLogs looks at every log after one was written to, at most once a second.
func (r *Runtime) cutLogs(ctx context.Context, events *fileEvents) {
	stop := context.AfterFunc(ctx, events.close)
	defer stop()
	for ctx.Err() == nil {
		for _, s := range r.services() {
			s.watchLog(events)
		}
		if events.wait() != nil {
			return
		}
		pause(ctx, nil, time.Second)
	}
}

// watchLog asks for an event of the next write, and then looks at what was
// written before.
func (s *service) watchLog(events *fileEvents) {
	if events.arm(s.dir) != nil {
		return // not made yet, or removed
	}
	if err := s.log.cut(); err != nil {
		s.logger().Warn("log not cut", slog.Any("error", err))
	}
}

// pause returns true after the duration, false when ctx is done or wake fires
// before.
func pause(ctx context.Context, wake <-chan struct{}, duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
		return false
	case <-timer.C:
		return true
	}
}

func (r *Runtime) services() []*service {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*service
	for _, d := range r.deployments {
		all = slices.AppendSeq(all, maps.Values(d.services))
	}
	return all
}

// makeDirs makes directories for the owner alone.
func makeDirs(dirs ...string) error {
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, dirPermission); err != nil {
			return err
		}
	}
	return nil
}

// dirNames returns the sub-directories that can be of this package's making.
func dirNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the workload directory: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && contracts.DeploymentName(entry.Name()).Validate() == nil {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}
