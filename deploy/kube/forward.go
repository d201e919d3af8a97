package kube

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// Pods implements Forwards.
func (t *Topology) Pods(ctx context.Context, namespace, service string) ([]string, error) {
	if _, err := t.client.CoreV1().Services(namespace).Get(ctx, service, metav1.GetOptions{}); err != nil {
		return nil, translate(err, "find service %s/%s", namespace, service)
	}
	slices, err := t.client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	if err != nil {
		return nil, translate(err, "find the pods of service %s/%s", namespace, service)
	}
	var pods []string
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			ready := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			if ready && endpoint.TargetRef != nil && endpoint.TargetRef.Kind == "Pod" {
				pods = append(pods, endpoint.TargetRef.Name)
			}
		}
	}
	return pods, nil
}

// Forward implements Forwards.
func (t *Topology) Forward(ctx context.Context, namespace, pod string, port int) (string, io.Closer, error) {
	what := fmt.Sprintf("forward to port %d of pod %s/%s", port, namespace, pod)
	target := t.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	roundTripper, upgrader, err := spdy.RoundTripperFor(t.config)
	if err != nil {
		return "", nil, translate(err, "%s", what)
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: roundTripper}, http.MethodPost, target)
	if websocket, err := portforward.NewSPDYOverWebsocketDialer(target, t.config); err == nil {
		// What cannot be upgraded so is an old server or a proxy.
		dialer = portforward.NewFallbackDialer(websocket, dialer, func(err error) bool {
			return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
		})
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:" + strconv.Itoa(port)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return "", nil, translate(err, "%s", what)
	}
	tunnel := &tunnel{stop: stop, ended: make(chan struct{})}
	go func() {
		tunnel.err = forwarder.ForwardPorts()
		close(tunnel.ended)
	}()
	select {
	case <-ready:
	case <-tunnel.ended:
		return "", nil, deploy.WithNext(forwardFailure(tunnel.err, what), "see that the pod runs and that you may create pods/portforward in namespace %s", namespace)
	case <-ctx.Done():
		close(stop)
		return "", nil, context.Cause(ctx)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		_ = tunnel.Close()
		return "", nil, translate(err, "%s", what)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))), tunnel, nil
}

// forwardFailure gives a kind to what the upgrade of a connection fails with: most of
// it is text alone. A pod that is not up yet is the usual cause.
func forwardFailure(err error, what string) error {
	if err == nil {
		return domain.Errorf(domain.ErrUnavailable, "%s: it ended at once", what)
	}
	if kindOf(err) == nil {
		return domain.WrapError(domain.ErrUnavailable, err, "%s", what)
	}
	return translate(err, "%s", what)
}

// tunnel is a running forward.
type tunnel struct {
	stop  chan struct{}
	ended chan struct{}
	err   error // why it ended
}

// Close ends the forward and waits until it has ended.
func (t *tunnel) Close() error {
	close(t.stop)
	<-t.ended
	return nil
}
