package podman_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman"
	"github.com/nationtech/harmony-fleet/domain"
)

// testLogsEndEarly: the engine ends a followed log before the container has
// written its last line, as Podman does on a busy host.
func testLogsEndEarly(t *testing.T, h *host) {
	t.Helper()
	socket := endsLogsEarly(t, h.Socket)
	r := h.runtime(t, func(o *podman.Options) { o.Socket = socket })
	apply(t, r, workload(t, "early", 1, services(does("web", "stop", "_"))))
	logOf(t, r, "early", "web", "ready")
	log, err := r.Logs(t.Context(), domain.LogQuery{Deployment: "early", Tail: -1, Follow: true})
	require.NoError(t, err)
	first := make([]byte, len("ready\n"))
	_, err = io.ReadFull(log, first)
	require.NoError(t, err)
	rest := make(chan string)
	go func() { rest <- readAll(log) }()
	require.NoError(t, r.Remove(t.Context(), "early"))
	assert.Equal(t, "terminated\n", <-rest)
	require.NoError(t, log.Close())
}

// endsLogsEarly returns a socket of the engine on which a container's stop first
// ends all followed logs, and nobody sees a container before it has stopped.
func endsLogsEarly(t *testing.T, socket string) string {
	t.Helper()
	following, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	proxy.FlushInterval = -1
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	proxy.Transport = transport
	var stopping sync.RWMutex
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		switch {
		case strings.HasSuffix(request.URL.Path, "/stop"):
			stopping.Lock()
			defer stopping.Unlock()
			end()
		case strings.HasSuffix(request.URL.Path, "/json"):
			stopping.RLock()
			defer stopping.RUnlock()
		case request.URL.Query().Get("follow") == "1":
			request = request.WithContext(following)
		}
		proxy.ServeHTTP(w, request)
	}))
	require.NoError(t, server.Listener.Close())
	path := filepath.Join(filepath.Dir(socket), "early.sock")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return path
}
