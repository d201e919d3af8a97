package engine

import (
	"errors"
	"strings"
)

// Engines tell these three apart in words alone: the status is 500 for each.
// This is the only place that reads them; text_test.go holds the words of both
// engines, and a test on the real engines fails when they change.

// DiskFull reports whether the engine ran out of disk space.
func DiskFull(err error) bool {
	return says(err, "no space left on device", "disk quota exceeded")
}

// PortTaken reports whether a port of the host is in use.
func PortTaken(err error) bool {
	return says(err, "address already in use", "port is already allocated", "proxy already running")
}

// CommandNotFound reports whether a container's program does not exist.
// Docker also leaves the exit code 127 in the container.
func CommandNotFound(err error) bool {
	return says(err, "command that was not found", "executable file not found")
}

func says(err error, phrases ...string) bool {
	var refusal *Error
	if !errors.As(err, &refusal) {
		return false
	}
	text := strings.ToLower(refusal.Cause + "\n" + refusal.Message)
	for _, phrase := range phrases {
		if strings.Contains(text, phrase) {
			return true
		}
	}
	return false
}
