package fleettest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Alive reports whether a process of that ID exists and is not a zombie.
func Alive(pid int) bool {
	fields := stat(pid)
	return len(fields) > 0 && fields[statState] != "Z" && fields[statState] != "X"
}

// Children returns the processes that a process started from the program of
// that name.
func Children(parent int, program string) []int {
	var found []int
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			continue
		}
		fields := stat(pid)
		target, err := os.Readlink(entry + "/exe")
		if err == nil && len(fields) > statParent && fields[statParent] == strconv.Itoa(parent) && filepath.Base(target) == program {
			found = append(found, pid)
		}
	}
	return found
}

// CPUTime returns the time that the threads of a process have used, 0 for none.
// It is what the scheduler counted: the clock ticks of /proc/PID/stat hit a
// process that wakes up briefly far too often or not at all.
func CPUTime(pid int) time.Duration {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	var total time.Duration
	for _, thread := range threads {
		data, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		if fields := strings.Fields(string(data)); len(fields) > 0 {
			nanoseconds, _ := strconv.ParseInt(fields[0], 10, 64)
			total += time.Duration(nanoseconds)
		}
	}
	return total
}

// Memory returns the resident memory of a process in bytes, 0 for none.
func Memory(pid int) int64 { return memory(pid, "VmRSS:") }

// PeakMemory returns the most that Memory has been.
func PeakMemory(pid int) int64 { return memory(pid, "VmHWM:") }

func memory(pid int, field string) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == field {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// Positions in what stat returns.
const (
	statState  = 0
	statParent = 1
)

// stat returns the fields of /proc/PID/stat from the state on: those before
// hold the command's name, which is in parentheses and may hold any character.
func stat(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
}
