package kubetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// assetsVariable names a directory of programs to use instead of our own.
const assetsVariable = "KUBEBUILDER_ASSETS"

// errNotBuilt means that the programs can be built, and were not.
var errNotBuilt = errors.New("the Kubernetes programs are not built: run tools/kube/assets once (7 to 14 minutes on two cores), or make test")

// assets returns the directory of the Kubernetes programs, or errNotBuilt.
func assets() (string, error) {
	if dir := os.Getenv(assetsVariable); dir != "" {
		return dir, nil
	}
	script, err := findScript()
	if err != nil {
		return "", err
	}
	output, err := exec.Command(script, "-if-built").Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 3 {
		return "", errNotBuilt
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", script, err)
	}
	return strings.TrimSpace(string(output)), nil
}

// findScript looks for tools/kube/assets above the directory of the test.
func findScript() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		script := filepath.Join(dir, "tools", "kube", "assets")
		if _, err := os.Stat(script); err == nil {
			return script, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("tools/kube/assets is not above this directory: set " + assetsVariable)
		}
		dir = parent
	}
}

// wrap writes a program that runs another one which ends with this process,
// however this process ends.
func wrap(dir, program string) (string, error) {
	path := filepath.Join(dir, filepath.Base(program))
	text := "#!/bin/sh\nexec setpriv --pdeathsig KILL -- '" + program + "' \"$@\"\n"
	return path, os.WriteFile(path, []byte(text), 0o700) //nolint:gosec // a program
}
