package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"strings"
	"sync"
	"time"
)

// meter stands between a client and an engine, and times the calls that create
// and start containers. It passes everything on as it comes.
type meter struct {
	// Socket is what the client connects to.
	Socket string

	server   *http.Server
	served   chan error
	mu       sync.Mutex
	busy     time.Duration
	awaited  int
	spec     []byte
	finished chan time.Time
}

// newMeter listens on a socket and passes on to the engine's.
func newMeter(ctx context.Context, socket, engine string) (*meter, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	m := &meter{Socket: socket, served: make(chan error, 1), finished: make(chan time.Time, 1)}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.Out.URL.Scheme, request.Out.URL.Host = "http", "engine"
		},
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", engine)
		}},
		FlushInterval: -1,
		// A client that leaves a stream is no error.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	m.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if err := m.keep(request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		began := time.Now()
		proxy.ServeHTTP(w, request)
		m.note(request, began)
	})}
	go func() { m.served <- m.server.Serve(listener) }()
	return m, nil
}

func creates(request *http.Request) bool {
	return request.Method == http.MethodPost && strings.HasSuffix(request.URL.Path, "/containers/create")
}

func starts(request *http.Request) bool {
	return request.Method == http.MethodPost && strings.HasSuffix(request.URL.Path, "/start")
}

// keep keeps what a container is created from.
func (m *meter) keep(request *http.Request) error {
	if !creates(request) {
		return nil
	}
	spec, err := io.ReadAll(request.Body)
	if err != nil {
		return err
	}
	request.Body = io.NopCloser(bytes.NewReader(spec))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spec = spec
	return nil
}

// note adds what create and start took, and ends the wait for a start.
func (m *meter) note(request *http.Request, began time.Time) {
	now := time.Now()
	if !creates(request) && !starts(request) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy += now.Sub(began)
	if starts(request) && m.awaited > 0 {
		m.awaited--
		m.finished <- now
	}
}

// expect begins a measurement: the next start ends it.
func (m *meter) expect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy, m.awaited = 0, 1
}

// await waits for that start, and returns when the engine had answered it and
// how long it took to create and start since expect.
func (m *meter) await(ctx context.Context) (at time.Time, engine time.Duration, err error) {
	select {
	case <-ctx.Done():
		return time.Time{}, 0, ctx.Err()
	case at = <-m.finished:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return at, m.busy, nil
}

// created returns what the last container was created from.
func (m *meter) created() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.spec
}

func (m *meter) close() error {
	err := m.server.Close()
	if served := <-m.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if removed := os.Remove(m.Socket); removed != nil && !errors.Is(removed, os.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	return err
}
