// Package privatefile replaces small files that only their owner may read.
package privatefile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Write replaces the file at path, with mode 0600. When it fails, or the host
// does, the old content or the new one is there, never a mixture.
func Write(path string, data []byte) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".writing-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary.Name()))
		}
	}()
	_, err = temporary.Write(data)
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// Read returns the content of the file at path, at most limit bytes and one, and
// nothing when there is no file.
func Read(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, limit+1))
}
