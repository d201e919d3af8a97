package dev

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// find returns the path of one of the fleet's programs: the given one, or the
// one beside this program, or the one in PATH.
func find(given, name string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside this program nor in PATH: build it with `make build`, or name it with --%s", name, name)
	}
	return filepath.Abs(path)
}
