package kube

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	authorizationv1 "k8s.io/api/authorization/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/klog/v2"
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
	// It outlives this call. What it logs of connections that end is of no use.
	running, stop := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), klog.Logger{}))
	ready := make(chan struct{})
	forwarder, err := portforward.NewOnAddressesWithContext(running, dialer, []string{"127.0.0.1"}, []string{"0:" + strconv.Itoa(port)}, ready, io.Discard, io.Discard)
	if err != nil {
		stop()
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
		stop()
		return "", nil, deploy.WithNext(t.forwardFailure(ctx, tunnel.err, namespace, pod, what), "see that the pod runs and that you may create pods/portforward in namespace %s", namespace)
	case <-ctx.Done():
		stop()
		return "", nil, context.Cause(ctx)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		_ = tunnel.Close()
		return "", nil, translate(err, "%s", what)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))), tunnel, nil
}

// forwardFailure gives a kind to what a forward fails with, which is text alone: it
// looks for the pod and asks for the right. Anything else can be over soon, such as
// a node that does not answer.
func (t *Topology) forwardFailure(ctx context.Context, err error, namespace, pod, what string) error {
	if err == nil {
		return domain.Errorf(domain.ErrUnavailable, "%s: it ended at once", what)
	}
	if kindOf(err) != nil {
		return translate(err, "%s", what)
	}
	if _, missing := t.client.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{}); apierrors.IsNotFound(missing) {
		return domain.WrapError(domain.ErrNotFound, err, "%s", what)
	}
	review, failure := t.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: "create", Resource: "pods", Subresource: "portforward", Name: pod,
		}},
	}, metav1.CreateOptions{})
	if failure == nil && !review.Status.Allowed {
		return domain.WrapError(domain.ErrPermissionDenied, err, "%s", what)
	}
	return domain.WrapError(domain.ErrUnavailable, err, "%s", what)
}

// tunnel is a running forward.
type tunnel struct {
	stop  context.CancelFunc
	ended chan struct{}
	err   error // why it ended
}

// Close ends the forward and waits until it has ended.
func (t *tunnel) Close() error {
	t.stop()
	<-t.ended
	return nil
}
