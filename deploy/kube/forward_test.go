package kube_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/kubelettest"
	"github.com/nationtech/harmony-fleet/domain"
)

// echo answers each connection with what it says, behind a greeting.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, "hello ")
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// startPod runs a pod that gets ready.
func startPod(t *testing.T, namespace string) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(cluster.Get(t).Config())
	require.NoError(t, err)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "example.com/web:1"}}},
	}
	// The service account of a new namespace takes a moment, and so does the pod.
	require.Eventually(t, func() bool {
		_, err := client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
		return err == nil
	}, time.Minute, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		found, err := client.CoreV1().Pods(namespace).Get(t.Context(), "web", metav1.GetOptions{})
		return err == nil && found.Status.Phase == corev1.PodRunning
	}, time.Minute, 50*time.Millisecond)
	return "web"
}

// say writes through a forward and returns all that comes back.
func say(t *testing.T, address, text string) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// A forward goes through the real API server to the kubelet of the pod's node.
func TestForward(t *testing.T) {
	env := cluster.Get(t)
	kubelet := kubelettest.Start(t, env)
	namespace := env.Namespace(t)
	pod := startPod(t, namespace)
	kubelet.Listen(namespace, pod, 80, echo(t))
	opened := topology(t)

	address, closer, err := opened.Forward(t.Context(), namespace, pod, 80)
	require.NoError(t, err)
	for _, text := range []string{"world", "again"} {
		answer, err := say(t, address, text)
		require.NoError(t, err)
		require.Equal(t, "hello "+text, answer)
	}
	require.NoError(t, closer.Close())
	_, err = net.Dial("tcp", address)
	require.Error(t, err, "it is closed")

	// Where nothing listens, the connection ends without an answer.
	address, closer, err = opened.Forward(t.Context(), namespace, pod, 81)
	require.NoError(t, err)
	answer, _ := say(t, address, "world")
	require.Empty(t, answer)
	require.NoError(t, closer.Close())
}

func TestForwardsThatFail(t *testing.T) {
	env := cluster.Get(t)
	namespace := env.Namespace(t)
	pod := startPod(t, namespace)

	// There is no kubelet: it can be tried again.
	_, _, err := topology(t).Forward(t.Context(), namespace, pod, 80)
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorContains(t, err, "forward to port 80 of pod "+namespace+"/web")

	kubelettest.Start(t, env)
	_, _, err = topology(t).Forward(t.Context(), namespace, "none", 80)
	require.ErrorIs(t, err, domain.ErrNotFound)

	opened, err := kube.New(kube.Config{Kubeconfig: kubetest.WriteKubeconfig(t, env.UserConfig(t, "visitor"))})
	require.NoError(t, err)
	_, _, err = opened.Forward(t.Context(), namespace, pod, 80)
	require.ErrorIs(t, err, domain.ErrPermissionDenied)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = topology(t).Forward(ctx, namespace, pod, 80)
	require.ErrorIs(t, err, context.Canceled)
}
