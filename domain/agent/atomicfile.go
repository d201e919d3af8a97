package agent

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

const (
	temporaryPrefix  = ".writing-"
	temporaryPattern = temporaryPrefix + "*"
)

// files is the file system of a DirStore, one method for each step that can fail.
type files interface {
	prepare(dir string) error
	read(path string) ([]byte, error)
	create(dir string) (file, error)
	rename(from, to string) error
	syncDir(dir string) error
	remove(path string) error
}

// file is a temporary file that is being written.
type file interface {
	io.WriteCloser
	Name() string
	Sync() error
}

// writeAtomic replaces the file at path. When it fails, or the host does, the
// old content or the new one is there, never a mixture.
func writeAtomic(disk files, path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	temporary, err := disk.create(dir)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(disk.remove(temporary.Name())))
		}
	}()
	_, err = temporary.Write(data)
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	if err := disk.rename(temporary.Name(), path); err != nil {
		return err
	}
	return disk.syncDir(dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// diskFiles is the host's file system.
type diskFiles struct{}

func (diskFiles) prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(dir, temporaryPattern))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

func (diskFiles) read(path string) ([]byte, error) { return os.ReadFile(path) }

// create makes a file of mode 0600.
func (diskFiles) create(dir string) (file, error) {
	created, err := os.CreateTemp(dir, temporaryPattern)
	if err != nil {
		return nil, err
	}
	return created, nil
}

func (diskFiles) rename(from, to string) error { return os.Rename(from, to) }

func (diskFiles) remove(path string) error { return os.Remove(path) }

// syncDir makes a rename survive a power cut.
func (diskFiles) syncDir(dir string) error {
	opened, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}
