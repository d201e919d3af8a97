package boundary_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony-fleet/tools/boundary"
)

func TestCheckLinks(t *testing.T) {
	const agent = "github.com/nationtech/harmony-fleet/cmd/fleet-agent"
	const zitadel = "github.com/nationtech/harmony-fleet/adapters/zitadel"
	rule := boundary.LinkRule{Dir: ".", Forbidden: []string{"google.golang.org/grpc", "k8s.io"}}
	links := boundary.Links{
		Roots: []string{agent},
		Imports: map[string][]string{
			agent:                      {"context", zitadel},
			zitadel:                    {"example.com/client"},
			"example.com/client":       {"google.golang.org/grpc/codes", "google.golang.org/grpcweb"},
			"google.golang.org/grpc":   {"net"},
			"example.com/unreferenced": {"k8s.io/api"},
		},
	}

	got := boundary.CheckLinks("cmd/fleet-agent on linux/amd64", rule, links)
	if len(got) != 1 {
		t.Fatalf("want one violation, got %v", got)
	}
	want := "cmd/fleet-agent on linux/amd64: links google.golang.org/grpc/codes through " +
		"cmd/fleet-agent → adapters/zitadel → example.com/client → google.golang.org/grpc/codes; "
	if line := got[0].String(); !strings.HasPrefix(line, want) {
		t.Errorf("want %q..., got %q", want, line)
	}

	links.Imports["example.com/client"] = []string{"google.golang.org/grpcweb"}
	if got := boundary.CheckLinks("cmd/fleet-agent", rule, links); len(got) > 0 {
		t.Errorf("nothing forbidden is linked, got %v", got)
	}
}

// TestCheckAllLinksReadsTheGoCommand links a module named like gRPC, from disk, through a sibling.
func TestCheckAllLinksReadsTheGoCommand(t *testing.T) {
	const prefix = "github.com/nationtech/harmony-fleet/"
	root := write(t, map[string]string{
		"go.work": "go 1.26.0\n\nuse (\n\t./cmd/fleet-agent\n\t./domain\n)\n",
		"cmd/fleet-agent/go.mod": "module " + prefix + "cmd/fleet-agent\n\ngo 1.26.0\n\n" +
			"require " + prefix + "domain v0.0.0\n\nrequire google.golang.org/grpc v0.0.0 // indirect\n\n" +
			"replace (\n\t" + prefix + "domain => ../../domain\n\tgoogle.golang.org/grpc => ../../grpc\n)\n",
		"cmd/fleet-agent/main.go": "package main\n\nimport _ \"" + prefix + "domain\"\n\nfunc main() {}\n",
		"domain/go.mod":           "module " + prefix + "domain\n\ngo 1.26.0\n\nrequire google.golang.org/grpc v0.0.0\n",
		"domain/doc.go":           "package domain\n",
		// Only the device's other architecture links it.
		"domain/dial_arm64.go": "package domain\n\nimport _ \"google.golang.org/grpc\"\n",
		"grpc/go.mod":          "module google.golang.org/grpc\n\ngo 1.26.0\n",
		"grpc/doc.go":          "package grpc\n",
	})
	workspace, err := boundary.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	violations, err := boundary.CheckAllLinks(t.Context(), root, boundary.Table(), workspace)
	if err != nil {
		t.Fatal(err)
	}
	if len(violations) != 1 || violations[0].Where != "cmd/fleet-agent on linux/arm64" ||
		!strings.Contains(violations[0].What, "cmd/fleet-agent → domain → google.golang.org/grpc") {
		t.Fatalf("want the arm64 link to google.golang.org/grpc alone, got %v", violations)
	}
}

func TestTableRulesAreSound(t *testing.T) {
	table := boundary.Table()
	var names []string
	for _, rule := range table {
		names = append(names, rule.Module)
	}
	for i, rule := range table {
		for _, sibling := range rule.Siblings {
			// Rules stand in the order of dependency, so the table has no cycle.
			if at := slices.Index(names, sibling); at < 0 || at >= i {
				t.Errorf("%s may depend on %s, which does not stand before it in the table", rule.Module, sibling)
			}
		}
	}
}
