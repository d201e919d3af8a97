// Package deploy brings up parts of a fleet in a real cluster, with the Scores
// that fleet-deploy uses.
package deploy

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

const timeout = 3 * time.Minute

// bin holds the programs; TestMain builds them.
var bin string

// cluster is shared by all tests.
var cluster = kubetest.NewShared(kubetest.Options{Cluster: true, WithoutCRDs: true})

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fleet-deploy-bin-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		bin = dir
		err = fleettest.Build(context.Background(), "../..", dir, runtime.GOARCH, append(fleettest.Programs(), "fleet-deploy")...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return kubetest.Main(m, cluster)
}
