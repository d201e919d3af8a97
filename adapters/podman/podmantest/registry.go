package podmantest

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Registry is a registry that is read from. Safe for concurrent use.
type Registry struct {
	server *httptest.Server

	mu             sync.Mutex
	manifests      map[string][]byte // by "name:tag" and "name@digest"
	blobs          map[string][]byte
	user, password string
	delay          time.Duration
	pulls          int
}

// NewRegistry starts an empty registry on 127.0.0.1, closed at the end of the
// test.
func NewRegistry(tb testing.TB) *Registry {
	tb.Helper()
	return NewRegistryOn(tb, "127.0.0.1")
}

// NewRegistryOn starts one on another address of this host.
func NewRegistryOn(tb testing.TB, address string) *Registry {
	tb.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		tb.Fatalf("start a registry: %v", err)
	}
	r := &Registry{manifests: map[string][]byte{}, blobs: map[string][]byte{}}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	_ = r.server.Listener.Close()
	r.server.Listener = listener
	r.server.Start()
	tb.Cleanup(r.server.Close)
	return r
}

// Host is the address, as it begins references.
func (r *Registry) Host() string { return r.server.Listener.Addr().String() }

// Push makes an image available as name:tag and returns that reference.
func (r *Registry) Push(name, tag string, image Image) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.manifests[name+":"+tag] = image.manifest
	r.manifests[name+"@"+image.Digest()] = image.manifest
	r.blobs[digest(image.config)] = image.config
	r.blobs[digest(image.layer)] = image.layer
	return r.Host() + "/" + name + ":" + tag
}

// Protect asks for credentials from now on; empty ones for none.
func (r *Registry) Protect(user, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.user, r.password = user, password
}

// Slow makes every blob wait from now on.
func (r *Registry) Slow(delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = delay
}

// Pulls returns how often a manifest was asked for so far.
func (r *Registry) Pulls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pulls
}

func (r *Registry) serve(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	user, password, delay := r.user, r.password, r.delay
	r.mu.Unlock()
	if gotUser, gotPassword, _ := request.BasicAuth(); user != "" && (gotUser != user || gotPassword != password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
		return
	}
	path := strings.TrimPrefix(request.URL.Path, "/v2/")
	if path == "" {
		return
	}
	name, kind, ref := splitPath(path)
	r.mu.Lock()
	var content []byte
	switch kind {
	case "manifests":
		separator := ":"
		if strings.Contains(ref, ":") {
			separator = "@"
		}
		content = r.manifests[name+separator+ref]
		r.pulls++
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Docker-Content-Digest", digest(content))
	case "blobs":
		content = r.blobs[ref]
	}
	r.mu.Unlock()
	if content == nil {
		http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`, http.StatusNotFound)
		return
	}
	if kind == "blobs" && delay > 0 {
		select {
		case <-request.Context().Done():
			return
		case <-time.After(delay):
		}
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	if request.Method == http.MethodGet {
		_, _ = w.Write(content)
	}
}

// splitPath reads "name/manifests/ref" and "name/blobs/digest".
func splitPath(path string) (name, kind, ref string) {
	for _, kind := range []string{"manifests", "blobs"} {
		if name, ref, ok := strings.Cut(path, "/"+kind+"/"); ok {
			return name, kind, ref
		}
	}
	return path, "", ""
}
