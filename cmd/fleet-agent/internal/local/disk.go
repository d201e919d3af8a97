package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

// Files of agent.DirStore. They are read here without it, because it sets broken
// files aside, and looking must change nothing.
const (
	desiredFile = "desired-state.json"
	reportFile  = "report.json"
)

// Desired is the desired state on disk.
type Desired struct {
	contracts.DesiredState
	// KeyID is that of the key that signed it.
	KeyID string
}

// ReadDesired reads and verifies the desired state in the directory of an
// agent.DirStore. The error wraps fs.ErrNotExist when there is none,
// fs.ErrPermission when it must not be read, and contracts.ErrUnknownKey or
// contracts.ErrBadSignature when it cannot be trusted.
func ReadDesired(dir string, identity agent.Identity) (Desired, error) {
	path := filepath.Join(dir, desiredFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return Desired{}, err
	}
	signed, err := contracts.Decode[contracts.Signed](data)
	if err != nil {
		return Desired{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := signed.Verify(identity.TrustedKeys); err != nil {
		return Desired{}, fmt.Errorf("%s, key %s: %w", path, signed.Signature.KeyID, err)
	}
	state, err := contracts.Decode[contracts.DesiredState](signed.Document)
	if err != nil {
		return Desired{}, fmt.Errorf("%s: %w", path, err)
	}
	if state.Device != identity.Device {
		return Desired{}, fmt.Errorf("%s is for device %q, this is device %q", path, state.Device, identity.Device)
	}
	return Desired{DesiredState: state, KeyID: signed.Signature.KeyID}, nil
}

// FromDisk is the view of an agent that does not run, from the directory of its
// agent.DirStore. What cannot be read is told in DesiredProblem.
func FromDisk(dir string, identity agent.Identity) Status {
	view := Status{Device: identity.Device, TrustedKeys: []string{}, Deployments: []Deployment{}, Runtimes: []Runtime{}}
	for _, key := range identity.TrustedKeys {
		view.TrustedKeys = append(view.TrustedKeys, contracts.KeyID(key))
	}
	desired, err := ReadDesired(dir, identity)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			view.DesiredProblem = err.Error()
		}
		return view
	}
	view.DesiredGeneration = desired.Generation
	reported := readReport(dir)
	for _, wanted := range desired.Deployments {
		deployment := reported[wanted.Name]
		deployment.Name, deployment.Generation = string(wanted.Name), wanted.Generation
		view.Deployments = append(view.Deployments, deployment)
	}
	return view
}

// readReport returns what was last reported of each deployment, as far as it can
// be read.
func readReport(dir string) map[contracts.DeploymentName]Deployment {
	data, err := os.ReadFile(filepath.Join(dir, reportFile))
	if err != nil {
		return nil
	}
	report, err := contracts.Decode[contracts.DeviceReport](data)
	if err != nil {
		return nil
	}
	reported := make(map[contracts.DeploymentName]Deployment, len(report.Deployments))
	for _, deployment := range report.Deployments {
		reported[deployment.Name] = fromReport(deployment)
	}
	return reported
}
