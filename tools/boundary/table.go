// Package boundary holds the one table of allowed dependencies between the modules of
// this repository and checks the source tree against it.
//
// Under go.work a module can import a sibling that its go.mod does not require, and
// the build succeeds. So the direction of dependency is proved here instead: for every
// import of every Go file (whatever its build tags), for every go.mod, and for every
// package that a binary links.
package boundary

import (
	"slices"
	"strings"
)

// Prefix starts the path of every module of this repository; the module's directory follows.
const Prefix = "github.com/nationtech/harmony-fleet/"

// Rule says what one module may depend on. The standard library and the module's own
// packages are always allowed; cgo never is.
type Rule struct {
	// Module is the module's directory, which is also its path after Prefix.
	Module string
	// Siblings are the modules of this repository it may import, by directory.
	Siblings []string
	// External are the import path prefixes of third-party packages it may import anywhere.
	External []string
	// Test are the import path prefixes that only its _test.go files and test-only packages may import.
	Test []string
	// Packages are exceptions for package trees inside the module.
	Packages []PackageRule
	// Links are sets of packages whose transitive dependencies are restricted.
	Links []LinkRule
	// Free modules are never released nor imported by others, and may import anything.
	Free bool
	// Detached modules stay out of go.work.
	Detached bool
}

// PackageRule widens what one package tree may import and narrows who may import it.
type PackageRule struct {
	// Dir is the package's directory inside the module.
	Dir string
	// External are import path prefixes allowed in this tree on top of the module's.
	External []string
	// TestOnly packages may be imported by tests and by other test-only packages alone.
	TestOnly bool
	// ImportedBy, when set, are the only modules whose non-test code may import this tree.
	ImportedBy []string
}

// LinkRule forbids packages to a program, however far down the import chain they are.
type LinkRule struct {
	// Dir is the package tree inside the module, "." for all of it.
	Dir string
	// Forbidden are the import path prefixes that may not be linked.
	Forbidden []string
}

// Table returns the allowed edges: the architecture of this repository in one place.
// A change here is a change of architecture, and is made through an ADR.
func Table() []Rule {
	const (
		sync  = "golang.org/x/sync"
		sys   = "golang.org/x/sys"
		cobra = "github.com/spf13/cobra"
		pflag = "github.com/spf13/pflag"
		yaml  = "go.yaml.in/yaml/v3"
	)
	testing := []string{"github.com/stretchr/testify", "go.uber.org/goleak"}
	server := []string{"github.com/nats-io/nats-server/v2"}
	kubernetes := []string{"k8s.io", "sigs.k8s.io"}
	heavy := []string{"k8s.io", "sigs.k8s.io", "helm.sh", "google.golang.org/grpc"}
	core := []string{"contracts", "domain"}

	return []Rule{
		{
			Module: "contracts",
			Test:   testing,
		},
		{
			Module:   "domain",
			Siblings: []string{"contracts"},
			Test:     with(testing, sync),
			Packages: []PackageRule{{Dir: "conformance", TestOnly: true}},
		},
		{
			Module:   "adapters/nats",
			Siblings: core,
			External: []string{
				"github.com/nats-io/nats.go", "github.com/synadia-io/orbit.go/jetstreamext",
				"github.com/nats-io/nkeys", "github.com/nats-io/jwt/v2", sync,
			},
			Test: with(testing, server...),
			Packages: []PackageRule{
				{Dir: "natstest", External: server, TestOnly: true},
				{Dir: "devserver", External: server, ImportedBy: []string{"cmd/fleet"}},
			},
		},
		{
			Module:   "adapters/zitadel",
			Siblings: core,
			External: []string{
				"github.com/zitadel/zitadel-go", "github.com/zitadel/oidc", "github.com/go-jose/go-jose/v4",
				"google.golang.org/grpc", "google.golang.org/protobuf", sync,
			},
			Test:     testing,
			Packages: []PackageRule{{Dir: "zitadeltest", ImportedBy: []string{"cmd/fleet-dev-identity"}}},
			Links:    []LinkRule{{Dir: "device", Forbidden: heavy}, {Dir: "verifier", Forbidden: heavy}},
		},
		{
			Module:   "adapters/kube",
			Siblings: core,
			// controller-runtime logs through logr, and counts with Prometheus' library.
			External: with(kubernetes, sync, "github.com/go-logr/logr", "github.com/prometheus/client_golang"),
			Test:     testing,
			Packages: []PackageRule{{Dir: "kubetest", TestOnly: true}},
		},
		{
			Module:   "adapters/podman",
			Siblings: core,
			External: []string{sync, sys},
			Test:     testing,
			Packages: []PackageRule{{Dir: "podmantest", TestOnly: true}},
		},
		{Module: "adapters/process", Siblings: core, External: []string{sync, sys}, Test: testing},
		{Module: "adapters/systemd", Siblings: core, External: []string{sync, sys}, Test: testing},
		{
			Module: "deploy",
			Siblings: with(
				core, "adapters/nats", "adapters/zitadel", "adapters/kube",
				"adapters/podman", "adapters/process", "adapters/systemd",
			),
			External: with(
				kubernetes, "helm.sh/helm/v3", "golang.org/x/crypto", yaml, sync,
				// What Helm itself pulls charts with.
				"oras.land/oras-go/v2", "github.com/opencontainers",
			),
			Test:     with(testing, "github.com/google/go-containerregistry"),
			Packages: []PackageRule{{Dir: "host/hosttest", TestOnly: true}, {Dir: "kube/charttest", TestOnly: true}, {Dir: "kube/kubelettest", TestOnly: true}},
		},
		{
			Module:   "cmd/fleet-operator",
			Siblings: with(core, "adapters/nats", "adapters/zitadel", "adapters/kube"),
			External: []string{cobra, pflag, yaml, sync, "github.com/prometheus/client_golang"},
			Test:     testing,
		},
		{
			Module: "cmd/fleet-agent",
			Siblings: with(
				core, "adapters/nats", "adapters/zitadel",
				"adapters/podman", "adapters/process", "adapters/systemd",
			),
			External: []string{cobra, pflag, "github.com/pelletier/go-toml/v2", sync},
			Test:     with(testing, "github.com/prometheus/common"),
			Links:    []LinkRule{{Dir: ".", Forbidden: with(heavy, server...)}},
		},
		{
			Module: "cmd/fleet",
			// Of deploy the frame and deploy/local, for `fleet dev`; Links keeps out
			// what the rest of it needs.
			Siblings: with(core, "deploy", "adapters/nats", "adapters/zitadel"),
			External: []string{cobra, pflag, yaml, sync, "golang.org/x/term"},
			Test:     testing,
			Links:    []LinkRule{{Dir: ".", Forbidden: heavy}},
		},
		{
			Module:   "cmd/fleet-dev-identity",
			Siblings: with(core, "adapters/zitadel"),
			Test:     testing,
		},
		{
			Module: "cmd/fleet-deploy",
			// adapters/kube is where the tests of deploy have their cluster from, and
			// adapters/zitadel what it sets fleets up with; go.mod must know both.
			Siblings: with(core, "deploy", "adapters/nats", "adapters/kube", "adapters/zitadel"),
			External: []string{cobra, yaml, "golang.org/x/term"},
			Test:     testing,
		},
		{Module: "tools", Free: true},
		{Module: "tools/kube", Free: true, Detached: true},
		{Module: "tools/lint", Free: true, Detached: true},
		{Module: "tools/packaging", Free: true, Detached: true},
		{Module: "tests", Free: true},
	}
}

// with returns list followed by more, without touching list.
func with(list []string, more ...string) []string {
	return slices.Concat(list, more)
}

// under reports whether path is prefix or lies below it.
func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

func underAny(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return under(path, prefix) })
}
