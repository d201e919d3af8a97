package boundary_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony-fleet/tools/boundary"
)

func TestLinterConfigurationFollowsTheTable(t *testing.T) {
	config, err := os.ReadFile(filepath.Join("..", "..", ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	updated, err := boundary.UpdateDepguard(config, boundary.Table())
	if err != nil {
		t.Fatal(err)
	}
	if string(updated) != string(config) {
		t.Error("the depguard rules of .golangci.yml do not follow tools/boundary/table.go: run make depguard")
	}
}

func TestUpdateDepguardNeedsItsMarks(t *testing.T) {
	_, err := boundary.UpdateDepguard([]byte("version: \"2\"\n"), boundary.Table())
	if err == nil || !strings.Contains(err.Error(), "BEGIN and END") {
		t.Fatalf("want an error about the missing lines, got %v", err)
	}
}
