// Package kubetest runs a real Kubernetes API server with etcd for tests, and
// on demand the rest of a cluster, in which pods get ready without containers:
// controller manager, scheduler, and kwok in the place of nodes.
//
// A start takes some seconds, so the tests of a package share one:
//
//	var kubernetes = kubetest.NewShared(kubetest.Options{})
//
//	func TestMain(m *testing.M) { os.Exit(kubetest.Main(m, kubernetes)) }
//
//	func TestSomething(t *testing.T) {
//		env := kubernetes.Get(t)
//		namespace := env.Namespace(t)
//		…
//	}
//
// The programs are built by tools/kube/assets. Where they are not, tests are
// skipped, and in CI they fail.
package kubetest
