package podman

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// Candidates returns where engines listen on this host, the likeliest first:
// what CONTAINER_HOST and DOCKER_HOST name, Podman and Docker of the system,
// and, unless the process is root, Podman and Docker of its user before those.
func Candidates() []string {
	var candidates []string
	for _, variable := range []string{"CONTAINER_HOST", "DOCKER_HOST"} {
		if path, ok := strings.CutPrefix(os.Getenv(variable), "unix://"); ok && path != "" {
			candidates = append(candidates, path)
		}
	}
	if os.Geteuid() != 0 {
		runtimeDir := os.Getenv("XDG_RUNTIME_DIR")
		if runtimeDir == "" {
			runtimeDir = filepath.Join("/run/user", strconv.Itoa(os.Geteuid()))
		}
		candidates = append(candidates,
			filepath.Join(runtimeDir, "podman", "podman.sock"), filepath.Join(runtimeDir, "docker.sock"))
	}
	return append(candidates, "/run/podman/podman.sock", "/run/docker.sock", "/var/run/docker.sock")
}

// Find returns the first socket of candidates, or of Candidates() when none is
// given, that accepts connections. ErrUnavailable, naming all, when none does.
func Find(ctx context.Context, candidates ...string) (string, error) {
	if len(candidates) == 0 {
		candidates = Candidates()
	}
	tried := make([]string, 0, len(candidates))
	for _, path := range candidates {
		dialer := net.Dialer{Timeout: 5 * time.Second}
		conn, err := dialer.DialContext(ctx, "unix", path)
		if err == nil {
			_ = conn.Close()
			return path, nil
		}
		tried = append(tried, path+" ("+dialProblem(err)+")")
	}
	return "", domain.Errorf(domain.ErrUnavailable, "no container engine listens on %s: start one (systemctl start podman.socket, or docker) or name its socket",
		strings.Join(tried, ", "))
}
