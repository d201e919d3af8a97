// Package kubelettest is as much of a kubelet as it takes to forward ports to pods,
// for clusters whose pods get ready without containers: what listens in a pod is
// what a test says. The way there is the real one, through the API server.
package kubelettest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
)

const (
	protocol = "portforward.k8s.io"
	// idleTimeout is far longer than any test waits.
	idleTimeout = 10 * time.Minute
)

// Kubelet forwards to what listens. Safe for concurrent use.
type Kubelet struct {
	mu      sync.Mutex
	listens map[string]string // address by namespace/pod/port
}

// Start makes a kubelet that of the cluster's node until the test ends. There is
// one node, so tests with kubelets of their own do not run at the same time.
func Start(tb testing.TB, env *kubetest.Environment) *Kubelet {
	tb.Helper()
	k := &Kubelet{listens: map[string]string{}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(k.serve))
	server.StartTLS()
	tb.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	status := fmt.Sprintf(`{"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": %s}}}}`, port)
	client, err := kubernetes.NewForConfig(env.Config())
	if err == nil {
		_, err = client.CoreV1().Nodes().Patch(tb.Context(), kubetest.NodeName, types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status")
	}
	if err != nil {
		tb.Fatalf("make a kubelet that of the node: %v", err)
	}
	return k
}

// Listen says what is reached by a port of a pod; of every pod of the namespace
// when pod is empty. An empty address is that nothing listens.
func (k *Kubelet) Listen(namespace, pod string, port int, address string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listens[fmt.Sprintf("%s/%s/%d", namespace, pod, port)] = address
}

func (k *Kubelet) address(namespace, pod, port string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range []string{pod, ""} {
		if address := k.listens[namespace+"/"+name+"/"+port]; address != "" {
			return address, nil
		}
	}
	return "", fmt.Errorf("nothing listens on port %s of pod %s/%s", port, namespace, pod)
}

// serve answers /portForward/NAMESPACE/POD. Each connection that is forwarded has
// two streams, for data and for an error, that name the same request.
func (k *Kubelet) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(path) < 3 || path[0] != "portForward" {
		http.NotFound(w, r)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{protocol}); err != nil {
		return // it was answered
	}
	streams := make(chan httpstream.Stream, 16)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
		streams <- stream
		return nil
	})
	if conn == nil {
		return
	}
	defer conn.Close()
	conn.SetIdleTimeout(idleTimeout)
	var forwards sync.WaitGroup
	defer forwards.Wait()
	errorStreams := map[string]httpstream.Stream{}
	for {
		select {
		case <-conn.CloseChan():
			return
		case stream := <-streams:
			request := stream.Headers().Get(corev1.PortForwardRequestIDHeader)
			if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				errorStreams[request] = stream
				continue
			}
			failures := errorStreams[request]
			delete(errorStreams, request)
			if failures == nil {
				_ = stream.Reset() // clients open the stream for errors first
				continue
			}
			forwards.Go(func() { k.answer(path[1], path[2], stream, failures) })
		}
	}
}

// answer forwards one connection and tells why it did not work.
func (k *Kubelet) answer(namespace, pod string, stream, failures httpstream.Stream) {
	if err := k.forward(namespace, pod, stream); err != nil {
		_, _ = io.WriteString(failures, err.Error())
	}
	_ = failures.Close()
	_ = stream.Close()
}

// forward copies both ways until what listens ends it.
func (k *Kubelet) forward(namespace, pod string, stream httpstream.Stream) error {
	address, err := k.address(namespace, pod, stream.Headers().Get(corev1.PortHeader))
	if err != nil {
		return err
	}
	near, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer near.Close()
	var asked sync.WaitGroup
	asked.Go(func() {
		_, _ = io.Copy(near, stream)         // it ends with the stream
		_ = near.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // of network tcp
	})
	_, err = io.Copy(stream, near)
	_ = stream.Close() // and the other side closes its half
	asked.Wait()
	return err
}
