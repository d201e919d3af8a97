package kubetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// NodeName is the node that a cluster has.
const NodeName = "node"

// startCluster adds what makes an API server a cluster.
func (e *Environment) startCluster() error {
	programs := [][]string{
		{"kube-controller-manager", "--kubeconfig", e.Kubeconfig, "--leader-elect=false", "--secure-port=0"},
		{"kube-scheduler", "--kubeconfig", e.Kubeconfig, "--leader-elect=false", "--secure-port=0"},
		{
			"kwok", "--kubeconfig", e.Kubeconfig, "--manage-all-nodes=true", "--node-lease-duration-seconds=40",
			"--config", filepath.Join(e.Dir, "stages.yaml"), "--server-address=",
		},
	}
	for _, program := range programs {
		child, err := e.run(program[0], program[1:]...)
		if err != nil {
			return err
		}
		e.children = append(e.children, child)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout) //nolint:forbidigo // the environment outlives the test that starts it
	defer cancel()
	client, err := kubernetes.NewForConfig(e.Config())
	if err != nil {
		return err
	}
	size := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("64"),
		corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods:   resource.MustParse("1000"),
	}
	_, err = client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: NodeName, Labels: map[string]string{corev1.LabelOSStable: "linux"}},
		Status:     corev1.NodeStatus{Capacity: size, Allocatable: size},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make a node: %w", err)
	}
	err = wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		for _, child := range e.children {
			if err := child.ended(); err != nil {
				return false, err
			}
		}
		return clusterReady(ctx, client), nil
	})
	if err != nil {
		return fmt.Errorf("wait for the cluster to get ready: %w", err)
	}
	return nil
}

// clusterReady reports whether the node takes pods and pods may be made.
func clusterReady(ctx context.Context, client kubernetes.Interface) bool {
	node, err := client.CoreV1().Nodes().Get(ctx, NodeName, metav1.GetOptions{})
	if err != nil || len(node.Spec.Taints) > 0 || !slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	}) {
		return false
	}
	_, err = client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	return err == nil
}

// child is a program of ours.
type child struct {
	name    string
	command *exec.Cmd
	log     string
	done    chan struct{}
}

// run starts one of the programs. It ends with this process at the latest.
func (e *Environment) run(name string, args ...string) (*child, error) {
	log, err := os.Create(filepath.Join(e.scratch, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command(filepath.Join(e.Dir, name), args...)
	command.Env = append(os.Environ(), "HOME="+e.scratch)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{name: name, command: command, log: log.Name(), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_ = command.Wait()
	}()
	return c, nil
}

// ended returns why the program is not running any more, nil while it is.
func (c *child) ended() error {
	select {
	case <-c.done:
		log, err := os.ReadFile(c.log)
		lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
		return errors.Join(err, fmt.Errorf("%s ended: %s: %s", c.name, c.command.ProcessState,
			bytes.Join(lines[max(0, len(lines)-5):], []byte("\n"))))
	default:
		return nil
	}
}

// stop ends the program, by force when it takes long.
func (c *child) stop() {
	_ = c.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(5 * time.Second):
		_ = c.command.Process.Kill()
		<-c.done
	}
}
