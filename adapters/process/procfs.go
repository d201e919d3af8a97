package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is the unit of times in /proc/<pid>/stat. It is 100 on every
// architecture that Go runs on, whatever the kernel's own clock.
const ticksPerSecond = 100

// identity names one process for ever: its ID alone is given away again after
// it ended, and after a reboot.
type identity struct {
	PID int `json:"pid"`
	// Start is in clock ticks since the host's start.
	Start uint64 `json:"start"`
	// Boot is the kernel's ID of the host's start.
	Boot string `json:"boot"`
}

// stat is what is needed of /proc/<pid>/stat.
type stat struct {
	pid     int
	state   byte
	group   int
	session int
	threads int
	start   uint64
}

// ended reports whether nothing of the process runs any more. A main thread
// that ended before the others makes no ended process.
func (s stat) ended() bool {
	return (s.state == 'Z' || s.state == 'X') && s.threads <= 1
}

func procPath(pid int, file string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + file
}

// readStat returns fs.ErrNotExist when there is no such process.
func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(procPath(pid, "stat"))
	if errors.Is(err, syscall.ESRCH) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return stat{}, fmt.Errorf("read the state of process %d: %w", pid, err)
	}
	return parseStat(pid, data)
}

// parseStat reads the fields after the program's name, which may hold blanks
// and parentheses itself.
func parseStat(pid int, data []byte) (stat, error) {
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("read the state of process %d: %d fields after the name, 20 are needed", pid, len(fields))
	}
	group, errGroup := strconv.Atoi(fields[2])
	session, errSession := strconv.Atoi(fields[3])
	threads, errThreads := strconv.Atoi(fields[17])
	start, errStart := strconv.ParseUint(fields[19], 10, 64)
	if err := errors.Join(errGroup, errSession, errThreads, errStart); err != nil {
		return stat{}, fmt.Errorf("read the state of process %d: %w", pid, err)
	}
	return stat{pid: pid, state: fields[0][0], group: group, session: session, threads: threads, start: start}, nil
}

// processes yields every process that is alive, but for this one.
func processes() iter.Seq[stat] {
	return func(yield func(stat) bool) {
		names, err := readNames("/proc")
		if err != nil {
			return
		}
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil || pid == os.Getpid() {
				continue
			}
			if found, err := readStat(pid); err == nil && !found.ended() && !yield(found) {
				return
			}
		}
	}
}

func readNames(dir string) ([]string, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.Readdirnames(-1)
}

// carries reports whether the process belongs to this user and was started
// with the given environment entry, itself or through an ancestor. A program
// that overwrites its environment to show a title is not recognized.
func carries(pid int, entry string) bool {
	info, err := os.Stat(procPath(pid, ""))
	if err != nil {
		return false
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) != os.Geteuid() {
		return false
	}
	environment, err := os.ReadFile(procPath(pid, "environ"))
	if err != nil {
		return false
	}
	for one := range bytes.SplitSeq(environment, []byte{0}) {
		if string(one) == entry {
			return true
		}
	}
	return false
}

func readBootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the kernel's boot ID: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// nowTicks is the current time in the unit and from the origin of identity.Start.
func nowTicks() uint64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	return uint64(now.Sec)*ticksPerSecond + uint64(now.Nsec)/(1e9/ticksPerSecond)
}
