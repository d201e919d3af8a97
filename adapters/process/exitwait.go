package process

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// host is the kernel as this package sees it.
type host struct {
	boot string
	// openPIDFD is unix.PidfdOpen; it fails on kernels before 5.3.
	openPIDFD func(pid, flags int) (int, error)
	// poll is how often to look where the kernel does not tell.
	poll time.Duration
}

// alive reports whether exactly that process runs. What cannot be found out
// (no more file descriptors, say) counts as alive: nothing is started twice.
func (h host) alive(id identity) bool {
	if id.PID <= 0 || id.Boot != h.boot {
		return false
	}
	found, err := readStat(id.PID)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return found.start == id.Start && !found.ended()
}

// identify names the process that has the ID now, ended or not.
func (h host) identify(pid int) (identity, error) {
	found, err := readStat(pid)
	return identity{PID: pid, Start: found.start, Boot: h.boot}, err
}

// waitExit blocks until the process has ended and returns nil, or until ctx is
// done and returns its error. The process need not be a child. Waiting holds
// one file descriptor and one goroutine, no thread, and takes no CPU time.
func (h host) waitExit(ctx context.Context, id identity) error {
	fd, err := h.openPIDFD(id.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return h.pollExit(ctx, id)
	}
	// A descriptor that does not block is waited for by Go's own poller.
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return h.pollExit(ctx, id)
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	defer file.Close()
	// Looked at after opening: now the descriptor is that of this process, or
	// the process has ended and somebody else has its ID.
	if !h.alive(id) {
		return nil
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return h.pollExit(ctx, id)
	}
	stop := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.Read(readable); err != nil && ctx.Err() == nil {
		return h.pollExit(ctx, id)
	} else if err != nil {
		return ctx.Err()
	}
	return nil
}

func readable(fd uintptr) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0 || err != nil
		}
	}
}

func (h host) pollExit(ctx context.Context, id identity) error {
	ticker := time.NewTicker(h.poll)
	defer ticker.Stop()
	for h.alive(id) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// reap takes the exit code of a child that has ended, 128 and more for a
// signal, so that no zombie stays. It returns nil for a process that is not a
// child of this one: only its parent is told.
func (h host) reap(id identity) *int {
	// Without this look, the ID might by now be that of another child.
	found, err := readStat(id.PID)
	if err != nil || found.start != id.Start || id.Boot != h.boot {
		return nil
	}
	var status syscall.WaitStatus
	for {
		pid, err := syscall.Wait4(id.PID, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid != id.PID {
			return nil
		}
		break
	}
	code := status.ExitStatus()
	if status.Signaled() {
		code = 128 + int(status.Signal())
	}
	return &code
}
