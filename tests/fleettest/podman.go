package fleettest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Podman is an engine of this host with a store of its own, apart from the
// host's. It needs root and the Debian packages podman, runc and netavark.
type Podman struct {
	dir     string
	service *Program
}

// NewPodman prepares an engine with its files in dir, an empty directory whose
// path is short, as a socket lies in it.
func NewPodman(dir string) (*Podman, error) {
	// runc and cgroupfs work under every version of control groups, and
	// without systemd; limits that the host does not have cannot be set.
	text := `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
`
	if err := os.WriteFile(filepath.Join(dir, "containers.conf"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	return &Podman{dir: dir}, nil
}

// Socket is where the service answers.
func (p *Podman) Socket() string { return filepath.Join(p.dir, "engine.sock") }

func (p *Podman) args(args []string) []string {
	return append([]string{
		"--root", filepath.Join(p.dir, "store"), "--runroot", filepath.Join(p.dir, "run"),
		"--tmpdir", filepath.Join(p.dir, "tmp"), "--network-config-dir", filepath.Join(p.dir, "net"),
		"--storage-driver", "overlay",
	}, args...)
}

func (p *Podman) env() []string {
	return []string{"CONTAINERS_CONF=" + filepath.Join(p.dir, "containers.conf"), "HOME=" + p.dir}
}

// Run runs a podman command and returns what it printed; the error holds what
// it said.
func (p *Podman) Run(ctx context.Context, args ...string) (string, error) {
	out, said, err := Run(ctx, "podman", p.args(args), p.env())
	if err != nil {
		return out, fmt.Errorf("podman %s: %w: %s%s", strings.Join(args, " "), err, out, said)
	}
	return strings.TrimSpace(out), nil
}

// Serve starts the service on the socket and waits until it answers.
func (p *Podman) Serve(ctx context.Context) error {
	path, err := exec.LookPath("podman")
	if err != nil {
		return err
	}
	p.service, err = Start("podman", path, p.args([]string{"system", "service", "--time=0", "unix://" + p.Socket()}), p.env(), nil)
	if err != nil {
		return err
	}
	return Until(ctx, "podman to answer", func() (bool, string) {
		_, _, err := Run(ctx, "podman", []string{"--remote", "--url", "unix://" + p.Socket(), "version"}, p.env())
		return err == nil, p.service.Output()
	})
}

// Close removes every container and image, and the files; dir itself stays.
func (p *Podman) Close(ctx context.Context) error {
	_, err := p.Run(ctx, "rm", "--all", "--force", "--time", "0", "--volumes")
	if p.service != nil {
		err = errors.Join(err, p.service.Stop(syscall.SIGTERM, 20*time.Second))
	}
	// The store's driver mounts its directory on itself.
	_ = syscall.Unmount(filepath.Join(p.dir, "store", "overlay"), syscall.MNT_DETACH)
	for _, name := range []string{"store", "run", "tmp", "net", "containers.conf"} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(p.dir, name)))
	}
	return err
}
