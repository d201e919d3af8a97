package podman

import (
	"bytes"
	"os"
	"strconv"
	"syscall"

	"github.com/nationtech/harmony-fleet/domain"
)

// killSession kills every process of the session that leader leads in the
// container with that ID. Engines make each command in a container the leader of
// a session.
//
// A number alone names no process: another may have got it, or this program is
// in a container of its own where it means something else. The control group of
// each names its container, and can be read without a right over the process.
func killSession(leader int, container string) error {
	if !inContainer(leader, container) {
		return domain.Errorf(domain.ErrUnavailable, "process %d of the command cannot be found from here as one of the container's", leader)
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "list the processes")
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close()
	if err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "list the processes")
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err == nil && sessionOf(pid) == leader && inContainer(pid, container) {
			// One that has ended meanwhile needs no signal, and what may not be signalled
			// shows by not ending.
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return nil
}

func inContainer(pid int, container string) bool {
	groups, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	return err == nil && bytes.Contains(groups, []byte(container))
}

// sessionOf returns the process's session, 0 when there is no such process.
func sessionOf(pid int) int {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The program's name may hold blanks and parentheses itself.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 4 {
		return 0
	}
	session, _ := strconv.Atoi(string(fields[3]))
	return session
}
