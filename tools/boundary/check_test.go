package boundary_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony-fleet/tools/boundary"
)

// allowedTree is a workspace that keeps to the table, file by file.
func allowedTree() map[string]string {
	const prefix = "github.com/nationtech/harmony-fleet/"
	return map[string]string{
		"go.work":             "go 1.26.0\n\nuse (\n\t./contracts\n\t./domain\n\t./adapters/nats\n\t./cmd/fleet\n\t./tests\n)\n",
		"contracts/go.mod":    "module " + prefix + "contracts\n",
		"contracts/device.go": "package contracts\n\nimport _ \"encoding/json\"\n",
		"domain/go.mod": "module " + prefix + "domain\n\nrequire (\n\t" + prefix + "contracts v0.0.0\n" +
			"\tgithub.com/stretchr/testify v1.11.1\n\tgopkg.in/yaml.v3 v3.0.1 // indirect\n)\n\n" +
			"replace " + prefix + "contracts => ../contracts\n",
		"domain/device.go":            "package domain\n\nimport _ \"" + prefix + "contracts\"\n",
		"domain/device_test.go":       "package domain\n\nimport _ \"github.com/stretchr/testify/require\"\n",
		"domain/conformance/suite.go": "package conformance\n\nimport _ \"github.com/stretchr/testify/require\"\n",
		"domain/testdata/broken.go":   "this is not Go",
		"adapters/nats/go.mod": "module " + prefix + "adapters/nats\n\nrequire (\n\t" + prefix + "contracts v0.0.0\n\t" +
			prefix + "domain v0.0.0\n\tgithub.com/nats-io/nats.go v1.55.0\n\tgithub.com/nats-io/nats-server/v2 v2.15.0\n)\n\n" +
			"replace (\n\t" + prefix + "contracts => ../../contracts\n\t" + prefix + "domain => ../../domain\n)\n",
		"adapters/nats/conn.go":             "package nats\n\nimport _ \"github.com/nats-io/nats.go/jetstream\"\n",
		"adapters/nats/registry_test.go":    "package nats\n\nimport _ \"" + prefix + "domain/conformance\"\n",
		"adapters/nats/natstest/server.go":  "package natstest\n\nimport (\n\t_ \"github.com/nats-io/nats-server/v2/server\"\n\t_ \"github.com/stretchr/testify/require\"\n)\n",
		"adapters/nats/devserver/server.go": "package devserver\n\nimport _ \"github.com/nats-io/nats-server/v2/server\"\n",
		"cmd/fleet/go.mod": "module " + prefix + "cmd/fleet\n\nrequire " + prefix + "adapters/nats v0.0.0\n\n" +
			"replace " + prefix + "adapters/nats => ../../adapters/nats\n",
		"cmd/fleet/dev.go": "package main\n\nimport _ \"" + prefix + "adapters/nats/devserver\"\n",
		"tests/go.mod":     "module " + prefix + "tests\n\nrequire k8s.io/apimachinery v0.36.0\n",
		"tests/any.go":     "package tests\n\nimport _ \"k8s.io/apimachinery/pkg/labels\"\n",
		"tools/README":     "no go.mod here, so no module",
		"loose.go":         "package loose\n\nimport _ \"example.com/in/no/module\"\n",
	}
}

// write puts the files into a fresh directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(files[name]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// check loads the tree from disk and returns the violations as lines.
func check(t *testing.T, files map[string]string) []string {
	t.Helper()
	workspace, err := boundary.Load(write(t, files))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, violation := range boundary.Check(boundary.Table(), workspace) {
		lines = append(lines, violation.String())
	}
	return lines
}

func TestAllowedEdgesPass(t *testing.T) {
	if lines := check(t, allowedTree()); len(lines) > 0 {
		t.Fatalf("an allowed tree has violations:\n%s", strings.Join(lines, "\n"))
	}
}

// TestForbiddenEdges changes one file of the allowed tree at a time and expects exactly
// one violation, which names the place, the edge and the remedy.
func TestForbiddenEdges(t *testing.T) {
	const prefix = "github.com/nationtech/harmony-fleet/"
	tests := map[string]struct {
		file, content string              // written over the allowed tree
		edit          func(string) string // or applied to the file in it
		want          []string            // all in the one line
	}{
		"third-party import in domain": {
			file: "domain/device.go", content: "package domain\n\nimport _ \"github.com/nats-io/nats.go\"\n",
			want: []string{"domain/device.go: imports github.com/nats-io/nats.go", "only adapters/nats may use it"},
		},
		"import that nobody may have": {
			file: "domain/device.go", content: "package domain\n\nimport _ \"example.com/log\"\n",
			want: []string{"domain/device.go: imports example.com/log", "no module may use it"},
		},
		"import behind a build tag": {
			file: "domain/windows.go", content: "//go:build windows && never\n\npackage domain\n\nimport _ \"example.com/log\"\n",
			want: []string{"domain/windows.go: imports example.com/log"},
		},
		"prefix that is not a path element": {
			file: "adapters/nats/conn.go", content: "package nats\n\nimport _ \"github.com/nats-io/nats.golang\"\n",
			want: []string{"adapters/nats/conn.go: imports github.com/nats-io/nats.golang"},
		},
		"test library outside of a test": {
			file: "domain/device.go", content: "package domain\n\nimport _ \"github.com/stretchr/testify/require\"\n",
			want: []string{"domain/device.go: imports github.com/stretchr/testify/require", "move the code to a _test.go file"},
		},
		"embedded server outside of natstest and devserver": {
			file: "adapters/nats/conn.go", content: "package nats\n\nimport _ \"github.com/nats-io/nats-server/v2/server\"\n",
			want: []string{"adapters/nats/conn.go: imports github.com/nats-io/nats-server/v2/server", "only tests of adapters/nats"},
		},
		"transport library in a main": {
			file: "cmd/fleet/dev.go", content: "package main\n\nimport _ \"github.com/nats-io/nats.go\"\n",
			want: []string{"cmd/fleet/dev.go: imports github.com/nats-io/nats.go", "go through a domain interface"},
		},
		"sibling against the direction": {
			file: "contracts/device.go", content: "package contracts\n\nimport _ \"" + prefix + "domain\"\n",
			want: []string{"contracts/device.go: imports " + prefix + "domain", "contracts may depend on no other module"},
		},
		"sibling that only go.work resolves": {
			file: "cmd/fleet/dev.go", content: "package main\n\nimport _ \"" + prefix + "domain\"\n",
			want: []string{"cmd/fleet/dev.go: imports " + prefix + "domain, which go.mod does not require", "cmd/fleet/go.mod"},
		},
		"module of this repository that does not exist": {
			file: "domain/device.go", content: "package domain\n\nimport _ \"" + prefix + "common\"\n",
			want: []string{"domain/device.go: imports " + prefix + "common, which is in no module"},
		},
		"conformance suite outside of a test": {
			file: "adapters/nats/conn.go", content: "package nats\n\nimport _ \"" + prefix + "domain/conformance\"\n",
			want: []string{"adapters/nats/conn.go: imports " + prefix + "domain/conformance outside of a test"},
		},
		"embedded server by way of devserver": {
			file: "adapters/nats/conn.go", content: "package nats\n\nimport _ \"" + prefix + "adapters/nats/devserver\"\n",
			want: []string{"adapters/nats/conn.go: imports " + prefix + "adapters/nats/devserver", "only cmd/fleet and tests"},
		},
		"cgo": {
			file: "domain/device.go", content: "package domain\n\nimport \"C\"\n",
			want: []string{"domain/device.go: uses cgo"},
		},
		"third-party require": {
			file: "contracts/go.mod", content: "module " + prefix + "contracts\n\nrequire example.com/log v1.0.0\n",
			want: []string{"contracts/go.mod: requires example.com/log", "no module may use it"},
		},
		"sibling require against the direction, indirect": {
			file: "contracts/go.mod", content: "module " + prefix + "contracts\n\nrequire " + prefix + "domain v0.0.0 // indirect\n",
			want: []string{"contracts/go.mod: requires " + prefix + "domain, which contracts may not depend on"},
		},
		"missing replace": {
			file: "cmd/fleet/go.mod", content: "module " + prefix + "cmd/fleet\n\nrequire " + prefix + "adapters/nats v0.0.0\n",
			want: []string{"cmd/fleet/go.mod: requires " + prefix + "adapters/nats without the permanent replace", "=> ../../adapters/nats"},
		},
		"replace by another directory": {
			file: "domain/go.mod",
			edit: func(s string) string { return strings.ReplaceAll(s, "=> ../contracts", "=> ../../contracts") },
			want: []string{"domain/go.mod: replaces " + prefix + "contracts by ../../contracts", "=> ../contracts"},
		},
		"replace of a third-party module": {
			file: "domain/go.mod",
			edit: func(s string) string {
				return s + "\nreplace github.com/stretchr/testify => example.com/fork v1.0.0\n"
			},
			want: []string{"domain/go.mod: replaces github.com/stretchr/testify, which is not a module of this repository"},
		},
		"replace in go.work": {
			file: "go.work",
			edit: func(s string) string {
				return s + "\nreplace github.com/stretchr/testify => example.com/fork v1.0.0\n"
			},
			want: []string{"go.work: replaces github.com/stretchr/testify"},
		},
		"module left out of go.work": {
			file: "go.work",
			edit: func(s string) string { return strings.ReplaceAll(s, "\t./domain\n", "") },
			want: []string{"go.work: does not use the module domain; add ./domain"},
		},
		"wrong module path": {
			file: "contracts/go.mod", content: "module example.com/contracts\n",
			want: []string{"contracts/go.mod: declares the module path example.com/contracts", prefix + "contracts"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			files := allowedTree()
			if test.edit != nil {
				test.content = test.edit(files[test.file])
			}
			if files[test.file] == test.content {
				t.Fatalf("the fixture changes nothing in %s", test.file)
			}
			files[test.file] = test.content
			lines := check(t, files)
			if len(lines) != 1 {
				t.Fatalf("want one violation, got %d:\n%s", len(lines), strings.Join(lines, "\n"))
			}
			for _, want := range test.want {
				if !strings.Contains(lines[0], want) {
					t.Errorf("violation %q does not say %q", lines[0], want)
				}
			}
		})
	}
}

func TestModuleNotInTheTable(t *testing.T) {
	files := allowedTree()
	files["adapters/mqtt/go.mod"] = "module github.com/nationtech/harmony-fleet/adapters/mqtt\n"
	files["go.work"] += "\nuse ./adapters/mqtt\n"
	want := "adapters/mqtt: the module is not in the table of allowed dependencies; add it to the table in tools/boundary/table.go"
	if lines := check(t, files); !slices.Equal(lines, []string{want}) {
		t.Fatalf("want %q, got %q", want, lines)
	}
}
