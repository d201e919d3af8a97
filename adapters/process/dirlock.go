package process

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/nationtech/harmony-fleet/domain"
)

// lockFile has a name that no deployment can have.
const lockFile = ".lock"

// dirLock keeps two agents from supervising one directory. The kernel gives
// the lock up when its holder ends, however it ends.
type dirLock struct {
	path string
	// holder is what the last holder wrote into the file.
	holder string
}

// look returns ErrConflict while another runtime holds the lock, and remembers
// who had it last.
func (l *dirLock) look() error {
	file, err := l.open()
	if err != nil {
		return err
	}
	defer file.Close()
	probe := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &probe); err != nil {
		return fmt.Errorf("look at the lock %s: %w", l.path, err)
	}
	if probe.Type != unix.F_UNLCK {
		return l.conflict("another agent supervises it now")
	}
	l.holder, err = readHolder(file)
	return err
}

// release gives the lock up at once. Closing the file alone would leave it to
// a child that is just being started and has a copy of the descriptor.
func (l *dirLock) release(file *os.File) {
	_ = unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	_ = file.Close()
}

// take holds the lock until release is called with the file. It returns
// ErrConflict when another runtime holds it, or held it since look: what was
// read of the directory is then out of date.
func (l *dirLock) take() (_ *os.File, err error) {
	file, err := l.open()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.release(file)
		}
	}()
	err = unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, l.conflict("another agent supervises it now")
	}
	if err != nil {
		return nil, fmt.Errorf("take the lock %s: %w", l.path, err)
	}
	holder, err := readHolder(file)
	if err != nil {
		return nil, err
	}
	if holder != l.holder {
		return nil, l.conflict("another agent has supervised it since it was read")
	}
	holder = rand.Text()
	if _, err := file.WriteAt([]byte(holder), 0); err != nil {
		return nil, fmt.Errorf("write the lock %s: %w", l.path, err)
	}
	l.holder = holder
	return file, nil
}

func (l *dirLock) open() (*os.File, error) {
	file, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, filePermission)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	return file, nil
}

func (l *dirLock) conflict(why string) error {
	return domain.Errorf(domain.ErrConflict,
		"the workload directory of %s cannot be used: %s; stop that agent, or give this one a directory of its own", l.path, why)
}

func readHolder(file *os.File) (string, error) {
	data, err := io.ReadAll(io.NewSectionReader(file, 0, 64))
	if err != nil {
		return "", fmt.Errorf("read the lock: %w", err)
	}
	return string(data), nil
}
