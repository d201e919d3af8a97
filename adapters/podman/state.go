package podman

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/nationtech/harmony-fleet/contracts"
)

// record is what labels on containers cannot hold. Its loss restarts nothing.
type record struct {
	// Socket is that of the engine that is kept to.
	Socket      string                                         `json:"socket,omitempty"`
	Deployments map[contracts.DeploymentName]*deploymentRecord `json:"deployments,omitempty"`
	// Pulled holds the IDs of images that were pulled by us and the references
	// under which they were.
	Pulled map[string][]string `json:"pulled,omitempty"`
}

type deploymentRecord struct {
	Generation uint64 `json:"generation"`
	// Services are by name.
	Services map[string]serviceRecord `json:"services"`
}

// serviceRecord is one declared service.
type serviceRecord struct {
	Image string `json:"image"`
	// Current and Previous are IDs of images.
	Current  string `json:"current,omitempty"`
	Previous string `json:"previous,omitempty"`
	// Container is the ID of the container that Restarts are of.
	Container string `json:"container,omitempty"`
	// Restarts are those before the engine began to count anew, which it does
	// whenever somebody starts the container.
	Restarts uint64 `json:"restarts,omitempty"`
	// Boot identifies the host's boot in which it was last started by us.
	Boot string `json:"boot,omitempty"`
}

// stateFile is a record kept in memory and, when path is not empty, on disk.
// Failing to write is logged: workloads matter more than their counters.
type stateFile struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	record  record
	written []byte
}

func openState(ctx context.Context, dir string, log *slog.Logger) (*stateFile, error) {
	s := &stateFile{log: log}
	defer s.fill()
	if dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	s.path = filepath.Join(dir, "containers.json")
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of containers: %w", err)
	}
	if err := json.Unmarshal(data, &s.record); err != nil {
		log.WarnContext(ctx, "state of containers is damaged, beginning anew", "file", s.path, "error", err)
		s.record = record{}
		return s, nil
	}
	s.written = data
	return s, nil
}

// fill leaves no map nil, whatever was read.
func (s *stateFile) fill() {
	if s.record.Deployments == nil {
		s.record.Deployments = map[contracts.DeploymentName]*deploymentRecord{}
	}
	if s.record.Pulled == nil {
		s.record.Pulled = map[string][]string{}
	}
	for name, deployment := range s.record.Deployments {
		if deployment == nil {
			delete(s.record.Deployments, name)
		} else if deployment.Services == nil {
			deployment.Services = map[string]serviceRecord{}
		}
	}
}

// edit changes the record and writes it when that changed it.
func (s *stateFile) edit(ctx context.Context, change func(*record)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.record)
	if s.path == "" {
		return
	}
	data, err := json.Marshal(s.record)
	if err == nil && slices.Equal(data, s.written) {
		return
	}
	if err == nil {
		err = writeAtomically(s.path, data)
	}
	if err != nil {
		s.log.WarnContext(ctx, "state of containers not written", "file", s.path, "error", err)
		return
	}
	s.written = data
}

// read lets look at the record, which must not be kept.
func (s *stateFile) read(look func(*record)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	look(&s.record)
}

func (s *stateFile) socket() (socket string) {
	s.read(func(r *record) { socket = r.Socket })
	return socket
}

func (s *stateFile) setSocket(ctx context.Context, socket string) {
	s.edit(ctx, func(r *record) { r.Socket = socket })
}

// service returns what is known of a service, the zero record when nothing is.
func (s *stateFile) service(deployment contracts.DeploymentName, service string) (found serviceRecord) {
	s.read(func(r *record) {
		if d := r.Deployments[deployment]; d != nil {
			found = d.Services[service]
		}
	})
	return found
}

// generation returns the one applied last, 0 when none is known.
func (s *stateFile) generation(deployment contracts.DeploymentName) (generation uint64) {
	s.read(func(r *record) {
		if d := r.Deployments[deployment]; d != nil {
			generation = d.Generation
		}
	})
	return generation
}

// writeAtomically leaves the old or the new content after a power cut.
func writeAtomically(path string, data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".containers-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(file.Name())
		}
	}()
	if _, err = file.Write(data); err != nil {
		return err
	}
	if err = file.Sync(); err != nil {
		return err
	}
	if err = file.Close(); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
