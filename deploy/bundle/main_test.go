package bundle_test

import (
	"os"
	"testing"

	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
)

// cluster is that of all tests in this package.
var cluster = kubetest.NewShared(kubetest.Options{Cluster: true, WithoutCRDs: true})

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m, cluster)) }
