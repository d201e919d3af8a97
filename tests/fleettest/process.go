package fleettest

import (
	"bytes"
	"fmt"
	"os"
)

// Alive reports whether a process of that ID exists and is not a zombie.
func Alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The state follows the command's name, which is in parentheses and may
	// hold any character.
	_, after, found := bytes.Cut(data[bytes.LastIndexByte(data, ')'):], []byte(") "))
	return found && len(after) > 0 && after[0] != 'Z' && after[0] != 'X'
}
