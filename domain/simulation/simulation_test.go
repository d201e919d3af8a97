package simulation_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/nationtech/harmony-fleet/domain/simulation"
)

const (
	// seedVariable runs one seed alone, to look at a failure again.
	seedVariable = "FLEET_SIM_SEED"
	// countVariable runs more seeds, or fewer.
	countVariable = "FLEET_SIM_SEEDS"

	defaultSeeds = 1000
)

// TestFleetConverges lives many fleets' lives. A failing seed is run again by
//
//	FLEET_SIM_SEED=N go test ./domain/simulation -run TestFleetConverges
func TestFleetConverges(t *testing.T) {
	t.Parallel()
	if text, ok := os.LookupEnv(seedVariable); ok {
		live(t, number(t, seedVariable, text))
		return
	}
	seeds := uint64(defaultSeeds)
	if text, ok := os.LookupEnv(countVariable); ok {
		seeds = number(t, countVariable, text)
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			live(t, seed)
		})
	}
}

func live(t *testing.T, seed uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if err := simulation.NewWorld(seed).Run(t.Context()); err != nil {
			t.Errorf("seed %d: %v\nagain with: %s=%d go test ./domain/simulation -run TestFleetConverges", seed, err, seedVariable, seed)
		}
	})
}

func number(t *testing.T, name, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return n
}
