package deploy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/kubelettest"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// containers is a cluster whose pods get ready, with the programs of its pods run
// here: with the arguments, the environment and the files that the pods would
// have. They are reached by real forwards.
type containers struct {
	*kube.Topology
	t         *testing.T
	namespace string
	kubelet   *kubelettest.Kubelet
	programs  []*fleettest.Program
}

func newContainers(t *testing.T) *containers {
	t.Helper()
	env := cluster.Get(t)
	topology, err := kube.New(kube.Config{Kubeconfig: env.Kubeconfig})
	require.NoError(t, err)
	c := &containers{Topology: topology, t: t, namespace: env.Namespace(t), kubelet: kubelettest.Start(t, env)}
	t.Cleanup(c.stop)
	return c
}

func (c *containers) kubectl(args ...string) string {
	c.t.Helper()
	out, err := cluster.Get(c.t).Kubectl(c.t.Context(), nil, append([]string{"--namespace", c.namespace}, args...)...)
	require.NoError(c.t, err)
	return strings.TrimSpace(out)
}

// pods are those of a release.
func (c *containers) pods(release string) []string {
	c.t.Helper()
	return strings.Fields(c.kubectl("get", "pods", "-l", "app.kubernetes.io/instance="+release, "-o", "jsonpath={.items[*].metadata.name}"))
}

// run runs the first containers of a Deployment's pods, from the binary of this
// name, with further flags that win.
func (c *containers) run(deployment, binary string, healthPort int, flags ...string) {
	c.t.Helper()
	var object appsv1.Deployment
	require.NoError(c.t, json.Unmarshal([]byte(c.kubectl("get", "deployment", deployment, "-o", "json")), &object))
	spec := object.Spec.Template.Spec
	pods := c.pods(deployment)
	require.Len(c.t, pods, int(*object.Spec.Replicas))
	for _, pod := range pods {
		root := c.t.TempDir()
		c.mount(root, spec)
		var args []string
		for _, argument := range spec.Containers[0].Args {
			for _, mount := range spec.Containers[0].VolumeMounts {
				argument = strings.Replace(argument, "="+mount.MountPath, "="+root+mount.MountPath, 1)
			}
			args = append(args, argument)
		}
		address := natstest.FreeAddress(c.t)
		args = append(append(args, "--health-address="+address), flags...)
		program, err := fleettest.Start(pod, filepath.Join(bin, binary), args, []string{"FLEET_OPERATOR_IDENTITY=" + pod}, nil)
		require.NoError(c.t, err)
		c.programs = append(c.programs, program)
		c.kubelet.Listen(c.namespace, pod, healthPort, address)
	}
}

// mount writes the files of the first container below root.
func (c *containers) mount(root string, spec corev1.PodSpec) {
	c.t.Helper()
	for _, mount := range spec.Containers[0].VolumeMounts {
		dir := root + mount.MountPath
		require.NoError(c.t, os.MkdirAll(dir, 0o700))
		for _, volume := range spec.Volumes {
			if volume.Name != mount.Name {
				continue
			}
			for name, content := range c.files(volume) {
				require.NoError(c.t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
			}
		}
	}
}

func (c *containers) files(volume corev1.Volume) map[string][]byte {
	c.t.Helper()
	files := map[string][]byte{}
	switch {
	case volume.Secret != nil:
		data, err := kube.ReadSecret(c.t.Context(), c.Topology, c.namespace, volume.Secret.SecretName)
		require.NoError(c.t, err)
		if len(volume.Secret.Items) == 0 {
			return data
		}
		for _, item := range volume.Secret.Items {
			require.Contains(c.t, data, item.Key, volume.Secret.SecretName)
			files[item.Path] = data[item.Key]
		}
	case volume.ConfigMap != nil:
		var object corev1.ConfigMap
		require.NoError(c.t, json.Unmarshal([]byte(c.kubectl("get", "configmap", volume.ConfigMap.Name, "-o", "json")), &object))
		for name, content := range object.Data {
			files[name] = []byte(content)
		}
	}
	return files
}

// stop ends the programs, in the opposite order.
func (c *containers) stop() {
	for _, program := range slices.Backward(c.programs) {
		if c.t.Failed() {
			c.t.Logf("%s:\n%s", program.Name, program.Output())
		}
		if err := program.Stop(syscall.SIGTERM, timeout); err != nil {
			c.t.Errorf("stop %s: %v", program.Name, err)
		}
	}
}

// started is a companion that does something once, when a step begins.
func started(step string, do func()) deploy.Companion {
	var once sync.Once
	return deploy.Companion{Name: "programs", Observe: func(event deploy.Event) {
		if strings.HasSuffix(event.Step, step) && event.State == deploy.StateWorking {
			once.Do(do)
		}
	}}
}
