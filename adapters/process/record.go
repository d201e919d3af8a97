package process

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	recordFile     = "service.json"
	deploymentFile = "deployment.json"
	filePermission = 0o600
	dirPermission  = 0o700
)

// record is what the next agent must know of a service. It holds the
// environment, and so perhaps secrets: its file is for the owner alone.
type record struct {
	// Hash is that of Spec.
	Hash string                   `json:"hash"`
	Spec contracts.ProcessService `json:"spec"`
	// Lifecycle is how to stop the process.
	Lifecycle contracts.Lifecycle `json:"lifecycle"`
	// Process is zero while none runs. It is written after the start, so a
	// process may run that it does not name; see Runtime.findUnrecorded.
	Process identity `json:"process,omitzero"`
	// NotBefore, in ticks, is when Process was last known to be none: what began
	// earlier belongs to an earlier start.
	NotBefore uint64 `json:"notBefore"`
	// Stopping says that the process shall end and not be started again.
	Stopping bool `json:"stopping,omitempty"`
	// Ended says that a process of this spec ended, with ExitCode when known.
	Ended    bool   `json:"ended,omitempty"`
	ExitCode *int   `json:"exitCode,omitempty"`
	Restarts uint64 `json:"restarts,omitempty"`
	// Failures counts ends in a row after which the back-off grows.
	Failures int `json:"failures,omitempty"`
	// Ends are the last ends, the oldest first.
	Ends []time.Time `json:"ends,omitempty"`
}

// due reports whether a process should run, now or after the back-off. An end
// that nobody saw may have been a failure.
func (r record) due() bool {
	if r.Hash == "" || r.Stopping {
		return false
	}
	if !r.Ended {
		return true
	}
	switch r.Spec.Restart.OrDefault() {
	case contracts.RestartNever:
		return false
	case contracts.RestartOnFailure:
		return r.ExitCode == nil || *r.ExitCode != 0
	case contracts.RestartAlways:
		return true
	}
	return true
}

// deploymentRecord is what the next agent must know of a deployment.
type deploymentRecord struct {
	Generation uint64 `json:"generation"`
}

// hashSpec is equal for services that are declared alike.
func hashSpec(spec contracts.ProcessService) (string, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("encode service %q: %w", spec.Name, err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// writeRecord replaces the file in one step: after a crash it is the old one
// or the new one.
func writeRecord(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	_, err = temporary.Write(append(data, '\n'))
	if err == nil {
		err = temporary.Sync()
	}
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
		// The temporary name would make the same problem look new at each attempt.
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	return nil
}

func readRecord(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	return nil
}
