package process

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// markVariable marks a process, and all that descend from it, as part of one
// service of one directory.
const markVariable = "HARMONY_FLEET_WORKLOAD"

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// launch starts the program as leader of a session and process group of its
// own. It returns a *domain.WorkloadError; its texts name the program and directories,
// never arguments or variables.
func (r *Runtime) launch(spec contracts.ProcessService, mark, work string, output *os.File) (identity, error) {
	dir := spec.Dir
	if dir == "" {
		dir = work
	}
	if info, err := os.Stat(dir); err != nil {
		return identity{}, startError(spec.Name, contracts.ReasonStartFailed, err, "its working directory %s cannot be used: %v", dir, cause(err))
	} else if !info.IsDir() {
		return identity{}, startError(spec.Name, contracts.ReasonStartFailed, syscall.ENOTDIR, "its working directory %s is not a directory", dir)
	}
	program, err := findProgram(spec, dir)
	if err != nil {
		return identity{}, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return identity{}, startError(spec.Name, contracts.ReasonStartFailed, err, "%v", err)
	}
	defer null.Close()
	// Not os/exec: its wait would need this agent to stay the parent.
	pid, err := syscall.ForkExec(program, slices.Concat(spec.Command, spec.Args), &syscall.ProcAttr{
		Dir:   dir,
		Env:   environment(spec.Env, work, mark),
		Files: []uintptr{null.Fd(), output.Fd(), output.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return identity{}, execError(spec, program, err)
	}
	// A child that has already ended can still be read: it was not reaped.
	id, err := r.host.identify(pid)
	if err != nil {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
		return identity{}, startError(spec.Name, contracts.ReasonStartFailed, err, "%v", err)
	}
	return id, nil
}

// keepDescriptors keeps this process's descriptors, but for the first three,
// from every program that it starts. Go does so for those that it opens; those
// that the agent was started with, a pipe's end say, would be held open for as
// long as a workload lives.
func keepDescriptors() error {
	const first = 3
	if unix.CloseRange(first, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	names, err := readNames("/proc/self/fd") // before Linux 5.11
	if err != nil {
		return fmt.Errorf("list the open files: %w", err)
	}
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd >= first {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}

// findProgram looks a bare name up in the agent's PATH; a path is relative to
// the working directory.
func findProgram(spec contracts.ProcessService, dir string) (string, error) {
	program := spec.Command[0]
	if !strings.Contains(program, "/") {
		found, err := exec.LookPath(program)
		if err == nil && !filepath.IsAbs(found) {
			err = exec.ErrDot
		}
		if err != nil {
			return "", startError(spec.Name, contracts.ReasonCommandNotFound, err, "program %q is not in the agent's PATH", program)
		}
		return found, nil
	}
	path := program
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return "", startError(spec.Name, contracts.ReasonCommandNotFound, err, "program %s does not exist", path)
	}
	return path, nil
}

func execError(spec contracts.ProcessService, program string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return startError(spec.Name, contracts.ReasonCommandNotFound, err, "the interpreter or loader that program %s names does not exist", program)
	case errors.Is(err, syscall.EACCES):
		return startError(spec.Name, contracts.ReasonStartFailed, err, "program %s may not be executed: check its permissions and those of the working directory", program)
	case errors.Is(err, syscall.ENOEXEC):
		return startError(spec.Name, contracts.ReasonStartFailed, err, "program %s is not made for this machine, or is a script without a #! line", program)
	default:
		return startError(spec.Name, contracts.ReasonStartFailed, err, "program %s could not be executed: %v", program, err)
	}
}

func startError(service string, reason contracts.Reason, err error, format string, args ...any) error {
	return &domain.WorkloadError{Reason: reason, Message: fmt.Sprintf("service %q did not start: ", service) + fmt.Sprintf(format, args...), Cause: err}
}

// cause strips operation and path, which the message has already.
func cause(err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err
	}
	return err
}

// environment is minimal: the agent's own may hold its secrets. It has a mark
// unless that is empty.
func environment(declared map[string]string, home, mark string) []string {
	variables := map[string]string{"PATH": defaultPath, "HOME": home, "LANG": "C.UTF-8"}
	for _, name := range []string{"PATH", "HOME", "LANG", "TZ"} {
		if value := os.Getenv(name); value != "" {
			variables[name] = value
		}
	}
	maps.Copy(variables, declared)
	if variables[markVariable] = mark; mark == "" {
		delete(variables, markVariable)
	}
	list := make([]string, 0, len(variables))
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		list = append(list, name+"="+variables[name])
	}
	return list
}
