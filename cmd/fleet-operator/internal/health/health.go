// Package health serves the operator's liveness, readiness and status over
// HTTP, for probes and for people.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Probe reports whether the operator is ready, and why or why not in a word
// such as "Converged", "Recovering" or "Following".
type Probe func() (ready bool, word string)

// Status returns what /status shows as JSON.
type Status func() any

// Page is something else to serve.
type Page struct {
	Path    string
	Handler http.Handler
}

// Serve answers /healthz, /readyz, /status and other pages on the listener until
// ctx is cancelled.
func Serve(ctx context.Context, listener net.Listener, probe Probe, status Status, pages ...Page) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ready, word := probe()
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = fmt.Fprintln(w, word)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(status())
	})
	for _, page := range pages {
		mux.Handle("GET "+page.Path, page.Handler)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	select {
	case err := <-stopped:
		return fmt.Errorf("serve health: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := server.Shutdown(grace)
	if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health: %w", err)
	}
	if err != nil {
		return fmt.Errorf("stop serving health: %w", err)
	}
	return nil
}
