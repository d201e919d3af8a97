package dev

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lock takes the fleet's directory for this process, until unlock is called or
// the process ends. Two brokers on one store would destroy it.
func (l layout) lock() (unlock func() error, err error) {
	file, err := os.OpenFile(filepath.Join(l.root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", l.root, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("%s is in use by another fleet dev (%w): stop that one, or name another directory with --dir", l.root, err)
	}
	return file.Close, nil
}
