package main

import (
	"os"
	"testing"

	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
)

// asOperator has the test's own program be the operator, so that a test can
// kill one.
const asOperator = "FLEET_TEST_AS_OPERATOR"

// kubernetes is the API server of all tests in this package.
var kubernetes = kubetest.NewShared(kubetest.Options{})

func TestMain(m *testing.M) {
	if os.Getenv(asOperator) != "" {
		main()
		return
	}
	os.Exit(kubetest.Main(m, kubernetes))
}
