package kube

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// tellInterval is how often somebody who waits is told for what.
const tellInterval = 3 * time.Second

// tell notes what is not ready until the returned function is called.
func (t *Topology) tell(ctx context.Context, d Deployment) (stop func()) {
	if d.Progress == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		said := ""
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(tellInterval):
			}
			if now := strings.Join(t.problems(ctx, d.Namespace, d.Name), "; "); now != "" && now != said {
				said = now
				d.Progress("wait: " + now)
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// problems says which pods of a release are not ready, and why. Charts label
// theirs by convention; where they do not, nothing is known.
func (t *Topology) problems(ctx context.Context, namespace, name string) []string {
	pods, err := t.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + name, Limit: 20})
	if err != nil {
		return nil
	}
	var problems []string
	for i := range pods.Items {
		if reason := unready(&pods.Items[i]); reason != "" {
			problems = append(problems, fmt.Sprintf("pod %s: %s", pods.Items[i].Name, reason))
		}
	}
	return problems
}

// unready returns why a pod is not ready, and nothing when it is.
func unready(pod *corev1.Pod) string {
	if pod.Status.Phase == corev1.PodSucceeded {
		return ""
	}
	statuses := append(append([]corev1.ContainerStatus{}, pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
	for _, status := range statuses {
		switch {
		case status.State.Waiting != nil && status.State.Waiting.Reason != "PodInitializing":
			return fmt.Sprintf("container %s waits: %s", status.Name, status.State.Waiting.Reason)
		case status.State.Terminated != nil && status.State.Terminated.ExitCode != 0:
			return fmt.Sprintf("container %s ended with code %d", status.Name, status.State.Terminated.ExitCode)
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return "no node takes it: " + condition.Message
		}
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return ""
		}
	}
	return strings.ToLower(string(pod.Status.Phase)) + " and not ready"
}
