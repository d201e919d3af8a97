package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestSelectPackages(t *testing.T) {
	modules := []string{"contracts", "domain", "adapters/nats", "adapters/podman", "cmd/fleet", "cmd/fleet-agent"}
	tests := map[string]struct {
		patterns []string
		want     []selection
	}{
		"a package":                    {[]string{"./domain/rollout"}, []selection{{"domain", []string{"./rollout"}}}},
		"a module's root, in any form": {[]string{"domain/"}, []selection{{"domain", []string{"./"}}}},
		"a tree in a module":           {[]string{"./domain/agent/..."}, []selection{{"domain", []string{"./agent/..."}}}},
		"a whole module":               {[]string{"./cmd/fleet/..."}, []selection{{"cmd/fleet", []string{"./..."}}}},
		"a tree of modules, in go.work's order": {
			[]string{"./adapters/...", "./contracts"},
			[]selection{{"contracts", []string{"./"}}, {"adapters/nats", []string{"./..."}}, {"adapters/podman", []string{"./..."}}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := selectPackages(modules, test.patterns)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("want %v, got %v", test.want, got)
			}
		})
	}
	for _, patterns := range [][]string{nil, {"./..."}, {"..."}} {
		got, err := selectPackages(modules, patterns)
		if err != nil || len(got) != len(modules) {
			t.Errorf("%q: want every module, got %v, %v", patterns, got, err)
		}
	}
	_, err := selectPackages(modules, []string{"./adapters"})
	if err == nil || !strings.Contains(err.Error(), "./adapters is in no module") {
		t.Errorf("want an error that names the pattern, got %v", err)
	}
}
