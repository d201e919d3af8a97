package fleettest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Programs are the binaries of a fleet.
func Programs() []string { return []string{"fleet", "fleet-operator", "fleet-agent"} }

// Build builds the programs of the checkout at root into dir, as a release
// would be built, for the given architecture.
func Build(ctx context.Context, root, dir, architecture string, programs ...string) error {
	for _, program := range programs {
		command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(dir, program), ".")
		command.Dir = filepath.Join(root, "cmd", program)
		command.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOARCH="+architecture)
		if said, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", program, err, said)
		}
	}
	return nil
}
