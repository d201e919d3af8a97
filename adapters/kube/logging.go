package kube

import (
	"context"
	"log/slog"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// UseLogger has the Kubernetes libraries log through logger. They have one for
// the whole process, so this is for a program's start.
func UseLogger(logger *slog.Logger) {
	handler := quietHandler{Handler: logger.Handler(), gate: &gate{}}
	klog.SetSlogLogger(slog.New(handler))
	ctrllog.SetLogger(logr.FromSlogHandler(handler))
}

// gate passes log lines on until it is closed. At its end a manager complains
// that it lost its Lease, and some of it lives on for a moment.
type gate struct {
	mu     sync.RWMutex
	closed bool
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// quietHandler drops what is chatter, and what comes after its gate is closed.
type quietHandler struct {
	slog.Handler
	gate *gate
}

// Enabled implements slog.Handler.
func (h quietHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h quietHandler) Handle(ctx context.Context, record slog.Record) error {
	h.gate.mu.RLock()
	defer h.gate.mu.RUnlock()
	if h.gate.closed {
		return nil
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietHandler{Handler: h.Handler.WithAttrs(attrs), gate: h.gate}
}

// WithGroup implements slog.Handler.
func (h quietHandler) WithGroup(name string) slog.Handler {
	return quietHandler{Handler: h.Handler.WithGroup(name), gate: h.gate}
}
