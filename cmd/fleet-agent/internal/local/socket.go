package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

const (
	socketFile = "agent.sock"
	// newSuffix is that of a socket that is not in its place yet.
	newSuffix = ".new"
	// answerTimeout bounds one answer, on either side.
	answerTimeout = 5 * time.Second
	// maxAnswer bounds what a client takes, in bytes.
	maxAnswer = 16 << 20
	// bindRetry is the time between two attempts to make the socket.
	bindRetry = 30 * time.Second
	// A lock that is held is tried for that often, that far apart.
	lockTries = 10
	lockRetry = 100 * time.Millisecond
	// maxSocketPath is the longest path that the kernel takes.
	maxSocketPath = 107
)

// SocketPath is where the agent of a state directory answers.
func SocketPath(stateDir string) string { return filepath.Join(stateDir, socketFile) }

// Claim makes this process the only agent of a state directory.
type Claim struct {
	dir *os.File
	log *slog.Logger
}

// NewClaim makes the directory, with mode 0700, unless it is there, and claims
// it until Release or the end of the process, however it ends. It waits for a second:
// the lock of an agent that was killed may be held for a moment by a child that it
// was just starting. ErrConflict when another agent has the directory,
// ErrUnavailable when it cannot be used or ctx ends.
func NewClaim(ctx context.Context, stateDir string, log *slog.Logger) (*Claim, error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, domain.WrapError(domain.ErrUnavailable, err, "state directory")
	}
	dir, err := os.Open(stateDir)
	if err != nil {
		return nil, domain.WrapError(domain.ErrUnavailable, err, "state directory")
	}
	err = flock(dir)
	for tries := 0; tries < lockTries && errors.Is(err, syscall.EWOULDBLOCK); tries++ {
		select {
		case <-ctx.Done():
			_ = dir.Close() // nothing was written
			return nil, domain.WrapError(domain.ErrUnavailable, ctx.Err(), "state directory %s was not locked", stateDir)
		case <-time.After(lockRetry):
		}
		err = flock(dir)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		_ = dir.Close() // nothing was written
		return nil, domain.Errorf(domain.ErrConflict,
			"another agent runs on state directory %s: stop it (`fleet-agent status` shows it), or give this one a state_dir of its own", stateDir)
	}
	if err != nil {
		_ = dir.Close()
		return nil, domain.WrapError(domain.ErrUnavailable, err, "state directory %s cannot be locked", stateDir)
	}
	return &Claim{dir: dir, log: log}, nil
}

// flock locks an open file for this process, as long as it is open.
func flock(file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a file descriptor is small
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// Release lets another agent have the directory. Closing the file alone would
// leave the lock to a child that is just being started and has a copy of it.
func (c *Claim) Release() {
	_ = syscall.Flock(int(c.dir.Fd()), syscall.LOCK_UN) //nolint:gosec // a file descriptor is small
	_ = c.dir.Close()
}

// Run answers on the socket with what status returns, and removes the socket in
// the end. It blocks until ctx is cancelled and returns nil. A socket that cannot
// be made, on a full disk for instance, is logged and tried again: workloads go on
// without it.
func (c *Claim) Run(ctx context.Context, status func() Status) error {
	for logged := false; ; logged = true {
		listener, err := c.listen()
		if err == nil {
			c.serve(ctx, listener, status)
			return nil
		}
		if !logged {
			c.log.WarnContext(ctx, "status socket cannot be made, is tried again", "socket", SocketPath(c.dir.Name()), "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(bindRetry):
		}
	}
}

// listen replaces the socket that a dead agent left: the directory is ours. It
// gets its mode before its name, so that it is never found with another mode.
func (c *Claim) listen() (*net.UnixListener, error) {
	fresh := socketFile + newSuffix
	path := filepath.Join(c.dir.Name(), fresh)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: address(c.dir, fresh), Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	if err = os.Chmod(path, 0o600); err == nil {
		err = os.Rename(path, SocketPath(c.dir.Name()))
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close(), os.Remove(path))
	}
	return listener, nil
}

// address is how the kernel takes a socket in a directory whose path may be too
// long for it.
func address(dir *os.File, name string) string {
	if path := filepath.Join(dir.Name(), name); len(path) <= maxSocketPath {
		return path
	}
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), name) //nolint:gosec // a file descriptor is small
}

func (c *Claim) serve(ctx context.Context, listener *net.UnixListener, status func() Status) {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil { // out of file descriptors, for instance
			c.log.WarnContext(ctx, "status socket cannot accept", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		if err := answer(conn, status()); err != nil {
			c.log.DebugContext(ctx, "status was not sent", "error", err)
		}
	}
	if err := os.Remove(SocketPath(c.dir.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.WarnContext(ctx, "status socket was not removed", "error", err)
	}
}

func answer(conn *net.UnixConn, status Status) (err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	return json.NewEncoder(conn).Encode(status)
}

// ErrNotRunning is returned by Ask when no agent answers.
var ErrNotRunning = errors.New("the agent does not run")

// Ask returns the status of the agent that runs on a state directory. It waits
// for five seconds at most. ErrNotRunning when there is none; fs.ErrPermission
// when this user must not ask; any other error when an agent runs but does not
// answer.
func Ask(ctx context.Context, stateDir string) (Status, error) {
	dir, err := os.Open(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return Status{}, fmt.Errorf("%w: there is no state directory %s", ErrNotRunning, stateDir)
	}
	if err != nil {
		return Status{}, err
	}
	defer func() { _ = dir.Close() }()
	conn, err := (&net.Dialer{Timeout: answerTimeout}).DialContext(ctx, "unix", address(dir, socketFile))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return Status{}, fmt.Errorf("%w: nobody answers on %s", ErrNotRunning, SocketPath(stateDir))
	}
	if err != nil {
		return Status{}, fmt.Errorf("ask the agent: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return Status{}, err
	}
	var status Status
	if err := json.NewDecoder(io.LimitReader(conn, maxAnswer)).Decode(&status); err != nil {
		return Status{}, fmt.Errorf("the agent runs but does not answer on %s: %w", SocketPath(stateDir), err)
	}
	return status, nil
}
