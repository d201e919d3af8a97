package broker

import (
	"context"
	"log/slog"
	"sync"
)

// complaints is a log of which the last error is kept: the broker tells of a
// missing permission beside the answers, not in them.
type complaints struct {
	mu   sync.Mutex
	text string
}

var _ slog.Handler = (*complaints)(nil)

func (c *complaints) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text
}

// Enabled implements slog.Handler.
func (c *complaints) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

// Handle implements slog.Handler.
func (c *complaints) Handle(_ context.Context, record slog.Record) error {
	record.Attrs(func(attribute slog.Attr) bool {
		if attribute.Key != "error" {
			return true
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.text = attribute.Value.String()
		return false
	})
	return nil
}

// WithAttrs implements slog.Handler.
func (c *complaints) WithAttrs([]slog.Attr) slog.Handler { return c }

// WithGroup implements slog.Handler.
func (c *complaints) WithGroup(string) slog.Handler { return c }
