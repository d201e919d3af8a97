// Package producers knows which tests produce the phases and reasons of the
// contract on real engines.
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
	fleetTests   = "tests/e2e"
)

// producer is a test function that makes a real engine come to a phase or reason, and
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

// phaseProducers has one for each phase, as the agent reports it over a broker.
func phaseProducers() map[contracts.Phase]producer {
	return map[contracts.Phase]producer{
		contracts.PhasePending:  {fleetTests, "TestEveryPhase"},
		contracts.PhaseRunning:  {fleetTests, "TestEveryPhase"},
		contracts.PhaseDegraded: {fleetTests, "TestEveryPhase"},
		contracts.PhaseFailed:   {fleetTests, "TestEveryPhase"},
		contracts.PhaseRemoving: {fleetTests, "TestEveryPhase"},
	}
}

func TestEveryPhaseHasAProducer(t *testing.T) {
	t.Parallel()
	requireProducers(t, "Phase", contracts.Phases(), phaseProducers())
}

func TestEveryReasonHasAProducer(t *testing.T) {
	t.Parallel()
	requireProducers(t, "Reason", contracts.Reasons(), producers())
}

// requireProducers requires that each of the named constants is used by the test
// function that is to produce it.
func requireProducers[Name ~string](t *testing.T, prefix string, names []Name, all map[Name]producer) {
	t.Helper()
	mentions := map[string]map[string][]string{}
	for _, dir := range []string{podmanTests, processTests, fleetTests} {
		mentions[dir] = constantsByFunction(t, filepath.Join("..", "..", dir), prefix)
	}
	for _, name := range names {
		p, ok := all[name]
		if !assert.True(t, ok, "nothing produces %s: write a test on a real engine and name it here", name) {
			continue
		}
		used, ok := mentions[p.dir][p.function]
		assert.True(t, ok, "%s has no test function %s, which is to produce %s", p.dir, p.function, name)
		assert.Contains(t, used, prefix+string(name), "%s in %s", p.function, p.dir)
	}
	assert.Len(t, all, len(names), "a name that is none any more")
}

// constantsByFunction returns the constants of the contract with the prefix that
// each function in the package's tests uses.
func constantsByFunction(t *testing.T, dir, prefix string) map[string][]string {
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
			found[function.Name.Name] = slices.Concat(found[function.Name.Name], constantsIn(function.Body, prefix))
		}
	}
	return found
}

func constantsIn(body ast.Node, prefix string) []string {
	var names []string
	ast.Inspect(body, func(node ast.Node) bool {
		if s, ok := node.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, prefix) {
			if from, ok := s.X.(*ast.Ident); ok && from.Name == "contracts" {
				names = append(names, s.Sel.Name)
			}
		}
		return true
	})
	return names
}
