package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// fileEvents wakes one waiter after a file in an armed directory changed.
// Where the host has no inotify instance left, it wakes it every poll.
type fileEvents struct {
	inotify *os.File // nil when there is none
	polling atomic.Bool
	poll    time.Duration
	closed  chan struct{}
	once    sync.Once
}

func newFileEvents(poll time.Duration) *fileEvents {
	events := &fileEvents{poll: poll, closed: make(chan struct{})}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		events.polling.Store(true)
		return events
	}
	events.inotify = os.NewFile(uintptr(fd), "inotify")
	return events
}

// arm asks for one event of the directory; it must be armed again after that,
// so a file that is written to all the time costs one event for each look at
// it. It returns fs.ErrNotExist when the directory is gone.
func (e *fileEvents) arm(dir string) error {
	if e.inotify == nil {
		_, err := os.Stat(dir)
		return err
	}
	conn, err := e.inotify.SyscallConn()
	if err != nil {
		return err
	}
	const mask = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_ONLYDIR | unix.IN_ONESHOT
	var armErr error
	if err := conn.Control(func(fd uintptr) {
		_, armErr = unix.InotifyAddWatch(int(fd), dir, mask)
	}); err != nil {
		return err
	}
	if errors.Is(armErr, fs.ErrNotExist) {
		return fmt.Errorf("watch %s: %w", dir, armErr)
	}
	if armErr != nil {
		e.polling.Store(true)
	}
	return nil
}

// wait blocks until something armed may have changed, or returns os.ErrClosed
// after close.
func (e *fileEvents) wait() error {
	if e.polling.Load() {
		timer := time.NewTimer(e.poll)
		defer timer.Stop()
		select {
		case <-e.closed:
			return os.ErrClosed
		case <-timer.C:
			return nil
		}
	}
	_, err := e.inotify.Read(make([]byte, 4096))
	return err
}

// close ends a blocked wait. It may be called more than once.
func (e *fileEvents) close() {
	e.once.Do(func() {
		close(e.closed)
		if e.inotify != nil {
			_ = e.inotify.Close()
		}
	})
}
