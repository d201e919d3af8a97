package podmantest

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// killLeftovers kills what names our directory in its command line (monitors
// of containers, daemons) and what runs below those.
func (e *Engine) killLeftovers() {
	for range 3 {
		parents, named := processes(e.dir)
		for pid := range parents {
			for up := pid; up > 1; up = parents[up] {
				if named[up] {
					_ = syscall.Kill(pid, syscall.SIGKILL)
					break
				}
			}
		}
		if len(named) == 0 {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
}

// processes returns every process's parent, and those that name dir.
func processes(dir string) (parents map[int]int, named map[int]bool) {
	parents, named = map[int]int{}, map[int]bool{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		status, _ := os.ReadFile("/proc/" + entry.Name() + "/stat")
		fields := strings.Fields(string(status[bytes.LastIndexByte(status, ')')+1:]))
		if len(fields) > 1 && fields[0] != "Z" {
			parents[pid], _ = strconv.Atoi(fields[1])
		}
		command, _ := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		named[pid] = bytes.Contains(command, []byte(dir))
		if !named[pid] || len(fields) == 0 || fields[0] == "Z" {
			delete(named, pid)
		}
	}
	return parents, named
}

// unmount unmounts what engines leave mounted, the tmpfs of the store only at
// the end.
func (e *Engine) unmount(end bool) {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	lines := strings.Split(string(mounts), "\n")
	for _, line := range slices.Backward(lines) {
		fields := strings.Fields(line)
		if len(fields) > 1 && strings.HasPrefix(fields[1], e.dir+"/") && (end || fields[0] != "tmpfs" || fields[1] != filepath.Join(e.dir, "store")) {
			_ = syscall.Unmount(fields[1], syscall.MNT_DETACH)
		}
	}
}
