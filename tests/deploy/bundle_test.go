package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// fleetDeploy runs the command in a directory, without anything of this user.
func fleetDeploy(ctx context.Context, dir string, args ...string) (stdout, stderr string, err error) {
	command := exec.CommandContext(ctx, filepath.Join(bin, "fleet-deploy"), args...)
	command.Dir = dir
	command.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	var out, said strings.Builder
	command.Stdout, command.Stderr = &out, &said
	err = command.Run()
	return out.String(), said.String(), err
}

// TestBundle makes a bundle where repositories and registries are, without the
// cluster and the secrets, and brings the operator up from it where they are not.
func TestBundle(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*timeout)
	defer cancel()
	f := newFixture(t)
	source, registry := charttest.NewImages(t), charttest.NewImages(t)
	digest := source.Push(t, "fleet/operator:1", "linux/amd64", "linux/arm64")
	source.Push(t, "library/nats:2", "linux/amd64")
	repository, _ := charttest.Repository(t, charttest.Chart{
		Name: "nats", Version: nats.ChartVersion, Templates: map[string]string{"pod.yaml": `apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}}
spec: {containers: [{name: nats, image: "` + source.Host + `/library/nats:2"}]}
`},
	})
	signing := filepath.Join(t.TempDir(), "signing.pem")
	_, _, err := fleettest.Run(ctx, filepath.Join(bin, "fleet-operator"), []string{"keygen", signing}, nil)
	require.NoError(t, err)
	text := fmt.Sprintf(`kubernetes: {kubeconfig: %s, namespace: %s}
images: {registry: "%s/fleet"}
operator: {image: "%s/fleet/operator:1", servers: ["%s"], nkeyFile: operator.nk, signingKeyFile: signing.pem}
nats:
  chart: {repository: "%s"}
  devices: 10
  users: [{name: operator, passwordFile: operator.password, role: operator}]
`, cluster.Get(t).Kubeconfig, f.namespace, registry.Host, source.Host, f.broker.Server, repository)

	// Where the Internet is: the file alone.
	online, site := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(online, "site.yaml"), []byte(strings.Replace(text, "kubeconfig: ", "kubeconfig: /nonexistent", 1)), 0o600))
	out, said, err := fleetDeploy(ctx, online, "bundle", "-o", "json")
	require.NoError(t, err, said)
	var made struct {
		Path, Digest   string
		Charts, Images []struct{ Name, Reference, Digest string }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &made))
	require.Equal(t, "nats", made.Charts[0].Name)
	require.Len(t, made.Charts, 1, "the operator's is part of the program")
	require.Equal(t, source.Host+"/fleet/operator:1", made.Images[0].Reference)
	require.Equal(t, digest.String(), made.Images[0].Digest)
	for line := range strings.Lines(said) {
		require.True(t, json.Valid([]byte(line)), line)
	}

	// At the site: everything but the Internet.
	source.Close()
	nkey, err := os.ReadFile(f.broker.NKey)
	require.NoError(t, err)
	pem, err := os.ReadFile(signing)
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(online, made.Path))
	require.NoError(t, err)
	text = strings.Replace(text, repository, "http://127.0.0.1:1", 1)
	// A broker of its own would have to run in the cluster: the operator alone.
	operatorAlone, _, _ := strings.Cut(text, "nats:\n")
	for name, content := range map[string][]byte{
		"site.yaml": []byte(text), "operator.yaml": []byte(operatorAlone), "operator.nk": nkey, "signing.pem": pem, "operator.password": []byte("word"), "site.bundle": data,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(site, name), content, 0o600))
	}
	out, said, err = fleetDeploy(ctx, site, "bundle", "--verify", "site.bundle")
	require.NoError(t, err, said)
	require.Contains(t, out, "it is whole: 1 chart, 2 images")
	out, said, err = fleetDeploy(ctx, site, "plan", "--bundle", "site.bundle")
	require.NoError(t, err, said)
	require.Contains(t, out, "+ nats: release "+f.namespace+"/nats: install nats "+nats.ChartVersion)
	require.Contains(t, out, "+ images in "+registry.Host+"/fleet: put 2 of 2 there")
	_, said, err = fleetDeploy(ctx, site, "plan")
	require.Error(t, err)
	require.Contains(t, said, "images: they are those of a bundle: name it with --bundle")
	_, said, err = fleetDeploy(ctx, site, "plan", "--bundle", "site.bundle", "--set", "operator.image=other:2")
	require.Error(t, err)
	require.Contains(t, said, "it has no image docker.io/library/other:2; next: make the bundle anew")

	// The cluster's pods get ready, but nothing runs in them: so it does here.
	applied := make(chan error, 1)
	go func() {
		out, said, err := fleetDeploy(ctx, site, "apply", "-f", "operator.yaml", "--bundle", "site.bundle", "--yes")
		if err != nil {
			err = fmt.Errorf("%w\n%s\n%s", err, out, said)
		}
		applied <- err
	}()
	want := fmt.Sprintf("%s/fleet/%s/fleet/operator@%s", registry.Host, strings.ReplaceAll(source.Host, ":", "_"), digest)
	kubernetes := cluster.Get(t)
	t.Cleanup(func() { // the definitions stay otherwise, and others of these tests begin without
		_, err := kubernetes.Kubectl(context.WithoutCancel(ctx), nil, "delete", "crd", "--all", "--timeout=1m")
		require.NoError(t, err)
	})
	require.NoError(t, fleettest.Until(ctx, "the operator's Deployment to be there", func() (bool, string) {
		image, err := kubernetes.Kubectl(ctx, nil, "--namespace", f.namespace, "get", "deployment", "fleet-operator", "--ignore-not-found",
			"-o", "jsonpath={.spec.template.spec.containers[0].image}")
		return err == nil && image == want, image
	}))
	program, err := fleettest.Start("operator", filepath.Join(bin, "fleet-operator"), []string{
		"run", "--kubernetes=" + cluster.Get(t).Kubeconfig, "--namespace", f.namespace, "--server", f.broker.Server,
		"--nkey-file", f.broker.NKey, "--signing-key-file", signing, "--health-address=", "--identity", "op-1",
	}, nil, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, program.Stop(syscall.SIGTERM, timeout)) })
	require.NoError(t, <-applied)

	out, said, err = fleetDeploy(ctx, site, "apply", "-f", "operator.yaml", "--bundle", "site.bundle", "--yes")
	require.NoError(t, err, said)
	require.Contains(t, out, "nothing to change")
	out, said, err = fleetDeploy(ctx, site, "destroy", "-f", "operator.yaml", "--yes")
	require.NoError(t, err, said)
	require.Contains(t, out, "2 changed")
}
