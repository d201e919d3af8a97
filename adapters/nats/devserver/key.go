package devserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"
)

// UserKey returns the public nkey of the seed in a file. A file that does not
// exist is made, with a new seed and for its owner alone, and so is its
// directory.
func UserKey(path string) (string, error) {
	seed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		seed, err = makeSeed(path)
	}
	if err != nil {
		return "", fmt.Errorf("nkey seed file: %w", err)
	}
	pair, err := nkeys.ParseDecoratedUserNKey(seed)
	if err != nil {
		return "", fmt.Errorf("nkey seed file %s: %w", path, err)
	}
	defer pair.Wipe()
	return pair.PublicKey()
}

func makeSeed(path string) ([]byte, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	seed = append(seed, '\n')
	return seed, os.WriteFile(path, seed, 0o600)
}
