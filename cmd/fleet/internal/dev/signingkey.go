package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// signingKey returns the fleet's public signing key. The operator's program
// makes the key, once, and this program never reads it.
func signingKey(ctx context.Context, operator string, l layout) (string, error) {
	public := l.signingKey() + ".pub"
	if text, err := os.ReadFile(public); err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if err := os.MkdirAll(filepath.Dir(public), 0o700); err != nil {
		return "", fmt.Errorf("make signing key: %w", err)
	}
	text, err := exec.CommandContext(ctx, operator, "keygen", l.signingKey()).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("make signing key: %s", strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("make signing key: %w", err)
	}
	if err := os.WriteFile(public, text, 0o600); err != nil {
		return "", fmt.Errorf("write public signing key: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
