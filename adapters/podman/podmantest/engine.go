package podmantest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Product is a container engine.
type Product string

// The engines that can be started.
const (
	Podman Product = "podman"
	Docker Product = "docker"
)

// Options of an engine.
type Options struct {
	// StoreSize, such as "32m", puts images and containers on a tmpfs of that
	// size. Empty for the directory of temporary files.
	StoreSize string
	// Registry is one that is read without TLS.
	Registry *Registry
}

// Engine is a running engine. Its end is that of the test, and of all its
// containers.
type Engine struct {
	Product Product
	// Socket is its path.
	Socket string

	dir     string
	options Options
	process *exec.Cmd
	exited  chan struct{}
	output  *bytes.Buffer
	http    *http.Client
}

// Start starts an engine with an empty store.
func Start(tb testing.TB, product Product, options Options) *Engine {
	tb.Helper()
	Require(tb, product)
	// Short, for the socket's sake, and removed only after what is mounted in it.
	dir, err := os.MkdirTemp("", "fleet-"+string(product)+"-") //nolint:usetesting // see above
	if err != nil {
		tb.Fatalf("make a directory: %v", err)
	}
	e := &Engine{Product: product, Socket: filepath.Join(dir, "engine.sock"), dir: dir, options: options}
	e.http = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", e.Socket)
		},
	}}
	tb.Cleanup(func() { e.cleanUp(tb) })
	for _, name := range []string{"store", "run", "tmp", "net", "home"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			tb.Fatalf("make a directory: %v", err)
		}
	}
	if options.StoreSize != "" {
		if err := syscall.Mount("tmpfs", filepath.Join(dir, "store"), "tmpfs", 0, "size="+options.StoreSize); err != nil {
			tb.Fatalf("mount a tmpfs: %v", err)
		}
	}
	e.Start(tb)
	return e
}

// Require skips the test when the engine cannot be started here, or fails it
// where CI=true, and says what is missing.
func Require(tb testing.TB, product Product) {
	tb.Helper()
	need := map[Product][]string{
		Podman: {"podman", "runc", "conmon", "iptables", "nft"},
		Docker: {"dockerd", "runc", "iptables"},
	}[product]
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for _, program := range need {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) == 0 {
		return
	}
	text := fmt.Sprintf("%s cannot be tested here, missing: %s; as root: apt-get install -y --no-install-recommends podman runc netavark aardvark-dns iptables nftables docker.io",
		product, strings.Join(missing, ", "))
	if os.Getenv("CI") == "true" {
		tb.Fatal(text)
	}
	tb.Skip(text)
}

// Start starts the engine again after Stop or Reboot.
func (e *Engine) Start(tb testing.TB) {
	tb.Helper()
	if e.Product == Podman {
		e.process = e.podman(tb)
	} else {
		e.process = e.docker()
	}
	e.output = &bytes.Buffer{}
	e.process.Stdout, e.process.Stderr = e.output, e.output
	e.process.WaitDelay = time.Second // containers hold on to the output
	e.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.process.Start(); err != nil {
		tb.Fatalf("start %s: %v", e.Product, err)
	}
	exited := make(chan struct{})
	e.exited = exited
	go func() {
		_ = e.process.Wait()
		close(exited)
	}()
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := e.call(tb.Context(), http.MethodGet, "/_ping", nil); err == nil {
			return
		}
		select {
		case <-exited:
			tb.Fatalf("%s ended:\n%s", e.Product, e.output)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s did not answer within a minute:\n%s", e.Product, e.output)
		}
	}
}

func (e *Engine) podman(tb testing.TB) *exec.Cmd {
	tb.Helper()
	write := func(name, content string) string {
		path := filepath.Join(e.dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			tb.Fatalf("configure podman: %v", err)
		}
		return path
	}
	containers := write("containers.conf", `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
runc = ["`+e.runc(tb)+`"]
[network]
network_backend = "netavark"
`)
	registries := "unqualified-search-registries = []\n"
	if e.options.Registry != nil {
		registries += fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", e.options.Registry.Host())
	}
	cmd := exec.Command("podman", append(e.podmanFlags(), "system", "service", "--time=0", "unix://"+e.Socket)...)
	// With CONTAINER_HOST, which tests set for others, podman would be a client.
	own := slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "CONTAINER_HOST=") })
	cmd.Env = append(own, "CONTAINERS_CONF="+containers,
		"CONTAINERS_REGISTRIES_CONF="+write("registries.conf", registries), "HOME="+filepath.Join(e.dir, "home"))
	return cmd
}

// runc writes a runc that keeps its own state below our directory, where Reboot
// can forget it.
func (e *Engine) runc(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(e.dir, "runc")
	script := fmt.Sprintf("#!/bin/sh\nexec runc --root %q \"$@\"\n", filepath.Join(e.dir, "run", "runc"))
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		tb.Fatalf("configure podman: %v", err)
	}
	return path
}

func (e *Engine) podmanFlags() []string {
	return []string{
		"--root", filepath.Join(e.dir, "store"), "--runroot", filepath.Join(e.dir, "run"),
		"--tmpdir", filepath.Join(e.dir, "tmp"), "--network-config-dir", filepath.Join(e.dir, "net"),
		"--storage-driver", "overlay",
	}
}

func (e *Engine) docker() *exec.Cmd {
	cmd := exec.Command("dockerd", "--data-root", filepath.Join(e.dir, "store"), "--exec-root", filepath.Join(e.dir, "run"),
		"--pidfile", filepath.Join(e.dir, "pid"), "--config-file", filepath.Join(e.dir, "none.json"),
		"--host", "unix://"+e.Socket, "--storage-driver", "overlay2")
	_ = os.WriteFile(filepath.Join(e.dir, "none.json"), []byte("{}"), 0o644)
	cmd.Env = append(os.Environ(), "HOME="+filepath.Join(e.dir, "home"), "DOCKER_RAMDISK=true")
	return cmd
}

// Stop ends the engine. Podman's containers go on, Docker's end.
func (e *Engine) Stop(tb testing.TB) {
	tb.Helper()
	e.signal(tb, syscall.SIGTERM)
}

// Reboot is a power cut: it kills the engine and everything in containers,
// and forgets what does not survive a reboot. Start the engine again after it.
func (e *Engine) Reboot(tb testing.TB) {
	tb.Helper()
	e.signal(tb, syscall.SIGKILL)
	e.killLeftovers()
	e.unmount(false)
	for _, name := range []string{"run", "tmp"} {
		if err := os.RemoveAll(filepath.Join(e.dir, name)); err != nil {
			tb.Fatalf("forget what does not survive a reboot: %v", err)
		}
	}
	_ = os.Remove(filepath.Join(e.dir, "pid"))
}

func (e *Engine) signal(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	if e.process == nil || e.process.Process == nil {
		return
	}
	_ = e.process.Process.Signal(signal)
	select {
	case <-e.exited:
	case <-time.After(time.Minute):
		_ = e.process.Process.Kill()
		<-e.exited
		tb.Errorf("%s did not end within a minute:\n%s", e.Product, e.output)
	}
}

func (e *Engine) cleanUp(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 30*time.Second)
	defer cancel()
	for id := range strings.FieldsSeq(e.CLI(ctx, "ps", "-aq", "--no-trunc")) {
		_, _ = e.call(ctx, http.MethodDelete, "/containers/"+id+"?force=1&v=1", nil)
	}
	e.signal(tb, syscall.SIGTERM)
	e.killLeftovers()
	e.unmount(true)
	if err := os.RemoveAll(e.dir); err != nil {
		tb.Errorf("remove the engine's directory: %v", err)
	}
}

// CLI runs the engine's own command and returns its standard output.
func (e *Engine) CLI(ctx context.Context, args ...string) string {
	cmd := exec.CommandContext(ctx, "docker", append([]string{"--host", "unix://" + e.Socket}, args...)...)
	if e.Product == Podman {
		cmd = exec.CommandContext(ctx, "podman", append([]string{"--remote", "--url", "unix://" + e.Socket}, args...)...)
	}
	output, err := cmd.Output()
	if failure, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(output) + string(failure.Stderr)
	}
	return string(output)
}

// Load puts an image on the host under a tag, without a registry.
func (e *Engine) Load(tb testing.TB, tag string, image Image) {
	tb.Helper()
	if _, err := e.call(tb.Context(), http.MethodPost, "/images/load", image.archive(tb, tag)); err != nil {
		tb.Fatalf("load image %s: %v", tag, err)
	}
}

// call does one request on the Docker-compatible API.
func (e *Engine) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://engine/v1.41"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-tar")
	response, err := e.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, answer)
	}
	return answer, err
}

// Call does one request with a JSON body, or none, on the engine's own API.
func (e *Engine) Call(tb testing.TB, method, path string) []byte {
	tb.Helper()
	answer, err := e.call(tb.Context(), method, path, nil)
	if err != nil {
		tb.Fatalf("call %s: %v", e.Product, err)
	}
	return answer
}
