// Package producers knows which tests produce the reasons of the contract on
// real engines.
package producers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	podmanTests  = "adapters/podman"
	processTests = "adapters/process"
)

// producer is a test function that makes a real engine come to a reason, and
// looks at it.
type producer struct {
	dir, function string
}

// producers has at least one for each reason. A function called "failing" or
// "scores" is the list that the conformance suite goes through, engine by engine.
func producers() map[contracts.Reason]producer {
	return map[contracts.Reason]producer{
		contracts.ReasonStarting:           {processTests, "TestApplyStartsLeavesAloneReplacesAndStops"},
		contracts.ReasonImagePulling:       {podmanTests, "testPull"},
		contracts.ReasonInitRunning:        {podmanTests, "testInit"},
		contracts.ReasonStopping:           {processTests, "TestApplyStartsLeavesAloneReplacesAndStops"},
		contracts.ReasonImagePullFailed:    {podmanTests, "failing"},
		contracts.ReasonInitFailed:         {podmanTests, "failing"},
		contracts.ReasonInitTimeout:        {podmanTests, "failing"},
		contracts.ReasonStartFailed:        {podmanTests, "failing"},
		contracts.ReasonCommandNotFound:    {podmanTests, "failing"},
		contracts.ReasonCrashLoop:          {podmanTests, "failing"},
		contracts.ReasonExited:             {podmanTests, "failing"},
		contracts.ReasonUnhealthy:          {podmanTests, "failing"},
		contracts.ReasonOutOfMemory:        {podmanTests, "failing"},
		contracts.ReasonPortConflict:       {podmanTests, "failing"},
		contracts.ReasonDiskFull:           {podmanTests, "TestDiskFull"},
		contracts.ReasonRuntimeUnavailable: {podmanTests, "testEngineDown"},
		contracts.ReasonStopFailed:         {podmanTests, "testStopFailed"},
		contracts.ReasonUnsupportedScore:   {podmanTests, "testStartFailures"},
		contracts.ReasonInvalidScore:       {podmanTests, "testStartFailures"},
	}
}

func TestEveryReasonHasAProducer(t *testing.T) {
	t.Parallel()
	mentions := map[string]map[string][]string{}
	for _, dir := range []string{podmanTests, processTests} {
		mentions[dir] = reasonsByFunction(t, filepath.Join("..", "..", dir))
	}
	all := producers()
	for _, reason := range contracts.Reasons() {
		p, ok := all[reason]
		if !assert.True(t, ok, "nothing produces %s: write a test on a real engine and name it here", reason) {
			continue
		}
		names, ok := mentions[p.dir][p.function]
		assert.True(t, ok, "%s has no test function %s, which is to produce %s", p.dir, p.function, reason)
		assert.Contains(t, names, "Reason"+string(reason), "%s in %s", p.function, p.dir)
	}
	assert.Len(t, all, len(contracts.Reasons()), "a reason that is none any more")
}

// reasonsByFunction returns the constants contracts.Reason… that each function in
// the package's tests uses.
func reasonsByFunction(t *testing.T, dir string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	require.NotEmpty(t, files, dir)
	found := map[string][]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok || function.Body == nil {
				continue
			}
			found[function.Name.Name] = slices.Concat(found[function.Name.Name], reasonsIn(function.Body))
		}
	}
	return found
}

func reasonsIn(body ast.Node) []string {
	var names []string
	ast.Inspect(body, func(node ast.Node) bool {
		if s, ok := node.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, "Reason") {
			if from, ok := s.X.(*ast.Ident); ok && from.Name == "contracts" {
				names = append(names, s.Sel.Name)
			}
		}
		return true
	})
	return names
}
