package kube_test

import (
	"os"
	"testing"

	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
)

// kubernetes is the API server of all tests in this package.
var kubernetes = kubetest.NewShared(kubetest.Options{})

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m, kubernetes, apart, counted)) }
