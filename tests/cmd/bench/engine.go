package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// benchImage is on the engine and in no registry.
const benchImage = "localhost/bench/app:1"

// errNoEngine is why containers are not measured here.
var errNoEngine = errors.New("not measured: needs root and the Debian packages podman, runc, netavark and iptables")

// startEngine starts a Podman with the image of an idle program. stop removes
// all of it.
func startEngine(ctx context.Context, root string) (engine *fleettest.Podman, stop func() error, err error) {
	for _, program := range []string{"podman", "runc", "iptables"} {
		if _, missing := exec.LookPath(program); missing != nil || os.Geteuid() != 0 {
			return nil, nil, errNoEngine
		}
	}
	dir, err := os.MkdirTemp("", "fleet-bench-podman-")
	if err != nil {
		return nil, nil, err
	}
	engine, err = fleettest.NewPodman(dir)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	stop = func() error {
		return errors.Join(engine.Close(context.WithoutCancel(ctx)), os.RemoveAll(dir))
	}
	if err := importImage(ctx, engine, root, dir); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	if err := engine.Serve(ctx); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return engine, stop, nil
}

// importImage makes an image of the program that the tests' images hold.
func importImage(ctx context.Context, engine *fleettest.Podman, root, dir string) error {
	program := filepath.Join(dir, "app")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./podmantest/app")
	build.Dir = filepath.Join(root, "adapters", "podman")
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program of the image: %w\n%s", err, said)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	err = errors.Join(archive.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}))
	if err == nil {
		_, err = archive.Write(content)
	}
	if err = errors.Join(err, archive.Close()); err != nil {
		return err
	}
	path := filepath.Join(dir, "layer.tar")
	if err := os.WriteFile(path, layer.Bytes(), 0o600); err != nil {
		return err
	}
	_, err = engine.Run(ctx, "import", "--change", `ENTRYPOINT ["/app"]`, "--change", `CMD ["stop","_"]`, path, benchImage)
	return err
}
