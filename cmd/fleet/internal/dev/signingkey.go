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
	if err := os.MkdirAll(filepath.Dir(l.signingKey()), 0o700); err != nil {
		return "", fmt.Errorf("make signing key: %w", err)
	}
	if _, err := os.Stat(l.signingKey()); err == nil {
		return ask(ctx, operator, "pubkey", l.signingKey())
	}
	return ask(ctx, operator, "keygen", l.signingKey())
}

// ask runs a program and returns its one line, or what it says is wrong.
func ask(ctx context.Context, program string, args ...string) (string, error) {
	text, err := exec.CommandContext(ctx, program, args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("signing key: %s", strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("signing key: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
