package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func killProcess(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }

// processUnder returns a process whose working directory lies below dir, 0 for
// none.
func processUnder(dir string) int {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, dir+"/") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
			return pid
		}
	}
	return 0
}

// exitCode returns how a program ended.
func exitCode(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok, "%v", err)
	return exit.ExitCode()
}
