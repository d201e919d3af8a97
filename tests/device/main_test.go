// Package device runs Debian devices, with systemd as their first process and
// Podman, in containers of this host: it installs the real package on them,
// joins them to a real fleet across a network link, and cuts the link, their
// power and the broker.
package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

const root = "../.."

// timeout bounds each wait of a test; most need a few seconds.
const timeout = 2 * time.Minute

// built is what TestMain made, for all tests.
var built parts

// parts are what devices are made from.
type parts struct {
	// missing says why no device can be made here; empty when it can.
	missing string
	// bin holds the programs, debian the root file system, which is read only.
	bin, debian string
	// packages are two versions of the .deb, older first, and rpms of the .rpm.
	packages, rpms [2]string
}

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fleet-device-bin-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		built, err = build(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build makes the parts in dir.
func build(ctx context.Context, dir string) (parts, error) {
	p := parts{bin: dir}
	for _, program := range []string{"podman", "runc", "iptables", "ip", "nsenter", "dpkg"} {
		if _, err := exec.LookPath(program); err != nil {
			p.missing = fmt.Sprintf("devices need %s: run tools/install-engines as root on Debian", program)
			return p, nil
		}
	}
	var said bytes.Buffer
	script := exec.CommandContext(ctx, "./debian-root")
	script.Stderr = &said
	path, err := script.Output()
	if err != nil {
		p.missing = fmt.Sprintf("no root file system of a device: %v: %s", err, strings.TrimSpace(said.String()))
		return p, nil
	}
	p.debian = strings.TrimSpace(string(path))
	if err := fleettest.Build(ctx, root, dir, runtime.GOARCH, append(fleettest.Programs(), "fleet-deploy", "fleet-dev-identity")...); err != nil {
		return p, err
	}
	for i, version := range []string{"0.0.1", "0.0.2"} {
		command := exec.CommandContext(ctx, filepath.Join(root, "packaging", "build"), "v"+version, dir, runtime.GOARCH)
		if output, err := command.CombinedOutput(); err != nil {
			return p, errors.Join(err, errors.New(string(output)))
		}
		p.packages[i] = filepath.Join(dir, fmt.Sprintf("fleet-agent_%s_%s.deb", version, runtime.GOARCH))
		found, err := filepath.Glob(filepath.Join(dir, "fleet-agent-"+version+"*.rpm"))
		if err != nil || len(found) != 1 {
			return p, fmt.Errorf("packaging/build made %d packages of version %s for rpm: %w", len(found), version, err)
		}
		p.rpms[i] = found[0]
	}
	return p, nil
}

// requireDevices skips the test where no device can be made, and fails it in CI.
func requireDevices(t *testing.T) {
	t.Helper()
	if built.missing == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(built.missing)
	}
	t.Skip(built.missing)
}
