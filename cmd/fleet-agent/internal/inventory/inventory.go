// Package inventory reads what this host is from the places where Linux says
// so. What cannot be read is left empty: an agent runs on odd hosts too.
package inventory

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Read returns the host's inventory. dir is a directory on the disk whose size
// matters; runtimes are the names of the workload runtimes.
func Read(dir string, runtimes []string) contracts.Inventory {
	hostname, _ := os.Hostname()
	return contracts.Inventory{
		Hostname:     clip(hostname),
		OS:           clip(osName()),
		Kernel:       clip(text("/proc/sys/kernel/osrelease")),
		Architecture: runtime.GOARCH,
		CPUs:         runtime.NumCPU(),
		MemoryBytes:  memory(),
		DiskBytes:    disk(dir),
		MachineID:    clip(text("/etc/machine-id")),
		Serial:       clip(text("/sys/firmware/devicetree/base/serial-number")),
		Model:        clip(text("/sys/firmware/devicetree/base/model")),
		Runtimes:     runtimes,
	}
}

// BootID returns an ID that changes with every boot of the host.
func BootID() string { return text("/proc/sys/kernel/random/boot_id") }

// clip keeps a text within what an inventory may carry.
func clip(s string) string { return contracts.Clip(s, maxText) }

// maxText is the longest text of an inventory, in bytes.
const maxText = 256

// text returns a small file's trimmed content; device tree files end in NUL.
func text(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(bytes.TrimRight(data, "\x00\n")))
}

func osName() string {
	for line := range strings.Lines(text("/etc/os-release")) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"`)
		}
	}
	return runtime.GOOS
}

func memory() int64 {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

func disk(dir string) int64 {
	var stat syscall.Statfs_t
	if syscall.Statfs(dir, &stat) != nil {
		return 0
	}
	return int64(stat.Blocks) * stat.Bsize
}
