package podman

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"sync"
	"syscall"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DefaultPullTimeout bounds one pull unless Options says otherwise: an hour is
// 1 GB at 300 kB/s.
const DefaultPullTimeout = time.Hour

// lookTimeout bounds the look at the engine that New takes.
const lookTimeout = 5 * time.Second

// Options of a Runtime. The zero value works.
type Options struct {
	// Socket is the path of the engine's socket. When empty, the first of
	// Candidates that answers is used, and kept to from then on.
	Socket string
	// StateDir is the directory of the runtime's own file, made when missing.
	// When empty, generations come from labels, restarts are counted since the
	// engine's last start, and only images pulled by this process are pruned.
	StateDir string
	// AuthFile holds registry credentials, as podman login and docker login
	// write it. When empty, the places that those two use are looked at.
	AuthFile string
	// PullTimeout bounds the pull of one image; default DefaultPullTimeout.
	PullTimeout time.Duration
	// Owner tells several runtimes on one host apart: lower-case letters,
	// digits and '-'; default "fleet". Containers are named
	// owner.deployment.service.
	Owner string
	// Logger is for what is worth knowing but stops nothing; default none.
	Logger *slog.Logger
}

// Runtime is a domain.WorkloadRuntime on a container engine. Safe for
// concurrent use; see there for what the calls do.
type Runtime struct {
	options Options
	client  *engine.Client
	state   *stateFile
	log     *slog.Logger
	crashes crashes
	readers readers
	boot    string

	// images is held for reading while images are needed that no container
	// uses yet, and for writing while images are pruned.
	images sync.RWMutex

	mu       sync.Mutex
	failures map[contracts.DeploymentName]*domain.WorkloadError
	last     engine.Info
}

var _ domain.WorkloadRuntime = (*Runtime)(nil)

var ownerForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// New returns a runtime. It succeeds while the engine is down, to which it
// connects when needed. ErrInvalid for a bad owner; an error when StateDir
// cannot be made. Close it after use.
func New(ctx context.Context, options Options) (*Runtime, error) {
	if options.Owner == "" {
		options.Owner = "fleet"
	}
	if !ownerForm.MatchString(options.Owner) {
		return nil, domain.Errorf(domain.ErrInvalid, "owner %q must be at most 32 lower-case letters, digits and '-'", options.Owner)
	}
	if options.PullTimeout <= 0 {
		options.PullTimeout = DefaultPullTimeout
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	state, err := openState(ctx, options.StateDir, options.Logger)
	if err != nil {
		return nil, err
	}
	r := &Runtime{
		options: options, state: state, log: options.Logger, boot: bootID(),
		failures: map[contracts.DeploymentName]*domain.WorkloadError{},
	}
	r.client = engine.New(r.socket)
	look, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if info, err := r.client.Info(look); err == nil {
		r.remember(info)
		r.log.InfoContext(ctx, "container engine found", "engine", info.Product, "version", info.Version, "socket", info.Socket)
	} else {
		r.log.WarnContext(ctx, "container engine does not answer yet", "error", err)
	}
	return r, nil
}

// Found reports whether an engine ever answered, in an earlier process too.
// Without one there is nothing of ours on the host.
func (r *Runtime) Found() bool { return r.state.socket() != "" }

// Close drops idle connections to the engine. Containers go on.
func (r *Runtime) Close() { r.client.Close() }

// socket returns where to connect. Once an engine was found it is kept to:
// with two engines on a host, starting everything again in the other one
// while the first is being upgraded would run every workload twice.
func (r *Runtime) socket(ctx context.Context) (string, error) {
	if r.options.Socket != "" {
		return r.options.Socket, nil
	}
	if socket := r.state.socket(); socket != "" {
		return socket, nil
	}
	socket, err := Find(ctx)
	if err != nil {
		return "", err
	}
	r.state.setSocket(ctx, socket)
	return socket, nil
}

func (r *Runtime) remember(info engine.Info) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = info
}

// Name returns the engine's name and version as last seen, such as
// "podman 4.3.1", and "podman" before any engine has answered.
func (r *Runtime) Name() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if info, ok := r.client.Known(); ok {
		r.last = info
	}
	if r.last.Product == "" {
		return engine.Podman
	}
	return r.last.Product + " " + r.last.Version
}

// Engine returns the engine's name, version and socket, asking it when not
// connected. ErrUnavailable, saying why, when it does not answer.
func (r *Runtime) Engine(ctx context.Context) (name, version, socket string, err error) {
	info, err := r.client.Info(ctx)
	return info.Product, info.Version, info.Socket, err
}

// Supports accepts PodmanV0 alone.
func (r *Runtime) Supports(score contracts.ScoreType) bool { return score == contracts.ScorePodmanV0 }

// dialProblem says in few words why a socket did not answer.
func dialProblem(err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "does not exist"
	case errors.Is(err, os.ErrPermission):
		return "permission denied"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "does not accept"
	}
	return fmt.Sprintf("%T", err)
}
