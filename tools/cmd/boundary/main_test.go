package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunExitCodes(t *testing.T) {
	root := t.TempDir()
	put := func(name, content string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer

	if code := run(t.Context(), []string{"-root", root}, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), "go.work") {
		t.Fatalf("without a workspace: exit code %d, %q", code, stderr.String())
	}
	put("go.work", "go 1.26.0\n\nuse ./contracts\n")
	put("contracts/go.mod", "module github.com/nationtech/harmony-fleet/contracts\n\ngo 1.26.0\n")
	put("contracts/a.go", "package contracts\n")
	if code := run(t.Context(), []string{"-root", root}, &stdout, &stderr); code != 0 || stdout.String() != "boundary: 1 modules, 1 files, 0 violations\n" {
		t.Fatalf("allowed tree: exit code %d, %q, %q", code, stdout.String(), stderr.String())
	}
	put("contracts/b.go", "package contracts\n\nimport _ \"example.com/x\"\n")
	stdout.Reset()
	if code := run(t.Context(), []string{"-root", root}, &stdout, &stderr); code != 1 || !strings.HasPrefix(stdout.String(), "contracts/b.go: imports example.com/x") {
		t.Fatalf("forbidden import: exit code %d, %q", code, stdout.String())
	}
}
