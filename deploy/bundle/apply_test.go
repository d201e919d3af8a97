package bundle_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/bundle"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/kube/charttest"
	"github.com/nationtech/harmony-fleet/domain"
)

// score is one of a single release.
type score struct {
	namespace string
	source    kube.ChartSource
	values    map[string]any
}

func (s *score) Name() string { return "web" }

func (s *score) Resources(topology *kube.Topology) ([]deploy.Resource, error) {
	return []deploy.Resource{
		kube.Requirement{Cluster: topology},
		&kube.Release{Releases: topology, Namespace: s.namespace, Name: "web", Source: s.source, Values: s.values},
	}, nil
}

func (s *score) Smoke(context.Context, *kube.Topology, deploy.Progress) error { return nil }

var once = deploy.Options{Attempts: 1}

// TestApplyWithoutTheSources makes a bundle, lets everything that it came from
// go away, and deploys from it.
func TestApplyWithoutTheSources(t *testing.T) {
	environment := cluster.Get(t)
	topology, err := kube.New(kube.Config{Kubeconfig: environment.Kubeconfig})
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(environment.Config())
	require.NoError(t, err)
	namespace := environment.Namespace(t)

	source, release := fixture(t)
	release.Namespace = namespace
	at, err := release.Load(t.Context())
	require.NoError(t, err)
	// That repository is away when the bundle is used.
	s := &score{namespace: namespace, values: release.Values, source: kube.Repository{URL: "http://127.0.0.1:1", Name: "web", Version: "1.0.0", Digest: at.Digest}}
	made, err := makeBundle(t, release, bundle.Options{Platforms: []string{"linux/arm64"}})
	require.NoError(t, err)
	source.Close()

	opened, err := bundle.Open(made.Path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close()) })
	site := charttest.NewImages(t)
	registry := bundle.Registry{Name: site.Host + "/fleet", PullSecret: "pull"}
	job := deploy.For(bundle.From[*kube.Topology](s, opened, registry)).On(topology)

	plan, err := job.Plan(t.Context(), deploy.Present, once)
	require.NoError(t, err)
	require.Equal(t, "images in "+registry.Name, plan.Steps[1].ID)
	require.Equal(t, "put 3 of 3 there", plan.Steps[1].Change.Summary)
	require.Equal(t, "install web 1.0.0", plan.Steps[2].Change.Summary)

	outcome, err := job.Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, 2, outcome.Changed())
	images := map[string]string{}
	for _, image := range made.Images {
		_, name, _ := cut(image.Reference)
		images[name] = fmt.Sprintf("%s/fleet/%s/web/%s@%s", site.Host, underscored(source.Host), name, image.Digest)
	}
	deployment, err := client.AppsV1().Deployments(namespace).Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	pod := deployment.Spec.Template.Spec
	require.Equal(t, images["server"], pod.Containers[0].Image)
	require.Equal(t, images["init"], pod.InitContainers[0].Image)
	require.Equal(t, "pull", pod.ImagePullSecrets[0].Name)
	require.Equal(t, "image: untouched", deployment.Annotations["note"])
	hook, err := client.BatchV1().Jobs(namespace).Get(t.Context(), "web-setup", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, images["setup"], hook.Spec.Template.Spec.Containers[0].Image)

	// A node can pull what the pods name, with the tag as well.
	for _, image := range made.Images {
		_, name, tag := cut(image.Reference)
		repository := site.Repository("fleet/" + underscored(source.Host) + "/web/" + name)
		for _, reference := range []string{image.Digest.String(), tag} {
			found, err := repository.Resolve(t.Context(), reference)
			require.NoError(t, err)
			require.Equal(t, image.Digest, found.Digest)
		}
	}

	outcome, err = job.Apply(t.Context(), once)
	require.NoError(t, err)
	require.Zero(t, outcome.Changed(), "%+v", outcome)

	// The same chart with its images from elsewhere is another release.
	elsewhere := charttest.NewImages(t)
	job = deploy.For(bundle.From[*kube.Topology](s, opened, bundle.Registry{Name: elsewhere.Host})).On(topology)
	outcome, err = job.Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, 2, outcome.Changed())
	require.Equal(t, "take the images from "+elsewhere.Host, outcome.Steps[2].Change.Summary)
	s.source = release.Source
	direct := deploy.For[*kube.Topology](s).On(topology)
	outcome, err = direct.Apply(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, "take the images from where the chart says", outcome.Steps[1].Change.Summary)
	outcome, err = direct.Apply(t.Context(), once)
	require.NoError(t, err)
	require.Zero(t, outcome.Changed())
	deployment, err = client.AppsV1().Deployments(namespace).Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, source.Host+"/web/server:1", deployment.Spec.Template.Spec.Containers[0].Image)

	outcome, err = job.Destroy(t.Context(), once)
	require.NoError(t, err)
	require.Equal(t, 1, outcome.Changed())
}

// cut splits host:port/web/name:tag.
func cut(reference string) (host, name, tag string) {
	var rest string
	if _, err := fmt.Sscanf(reference, "%s", &rest); err != nil {
		return "", "", ""
	}
	for i := len(rest) - 1; i >= 0; i-- {
		switch {
		case rest[i] == ':' && tag == "":
			tag, rest = rest[i+1:], rest[:i]
		case rest[i] == '/':
			return rest[:i], rest[i+1:], tag
		}
	}
	return "", rest, tag
}

func underscored(host string) string {
	out := []byte(host)
	for i := range out {
		if out[i] == ':' {
			out[i] = '_'
		}
	}
	return string(out)
}

// TestWhatABundleLacksIsNamed needs no cluster: it is found before one is asked.
func TestWhatABundleLacksIsNamed(t *testing.T) {
	source, release := fixture(t)
	made, err := makeBundle(t, release, bundle.Options{})
	require.NoError(t, err)
	opened, err := bundle.Open(made.Path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close()) })
	registry := bundle.Registry{Name: "registry.site/fleet"}
	valid := score{namespace: "fleet", values: release.Values, source: release.Source}
	resources := func(s score, r bundle.Registry) error {
		_, err := bundle.From[*kube.Topology](&s, opened, r).Resources(nil)
		return err
	}
	require.NoError(t, resources(valid, registry))

	more := valid
	more.values = map[string]any{"exporter": true}
	err = resources(more, registry)
	require.ErrorIs(t, err, domain.ErrNotFound)
	require.ErrorContains(t, err, "it has no image "+source.Host+"/web/exporter:1")
	require.Equal(t, "make the bundle anew, from the file as it is now", deploy.Next(err))
	other := valid
	other.source = kube.Repository{Name: "web", Version: "2.0.0"}
	require.ErrorContains(t, resources(other, registry), "its chart is web 1.0.0, and web 2.0.0 is asked for")
	other.source = kube.Archive{Digest: "sha256:00"}
	require.ErrorIs(t, resources(other, registry), domain.ErrConflict)
	away := valid
	away.namespace = "else"
	require.ErrorContains(t, resources(away, registry), "it has no chart for this release")

	require.ErrorContains(t, resources(valid, bundle.Registry{}), "images.registry: name a registry")
	require.ErrorContains(t, resources(valid, bundle.Registry{Name: "https://registry.site"}), "without a scheme")
	require.ErrorContains(t, resources(valid, bundle.Registry{Name: "registry.site", CA: []byte("none")}), "no certificate in PEM")
}

func TestPushNamesWhatIsWrong(t *testing.T) {
	_, release := fixture(t)
	made, err := makeBundle(t, release, bundle.Options{})
	require.NoError(t, err)
	opened, err := bundle.Open(made.Path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close()) })
	site := charttest.NewImages(t)
	images := &bundle.Images{Bundle: opened, Registry: bundle.Registry{Name: site.Host}, Images: made.Images}
	site.Close()
	_, err = images.Plan(t.Context(), deploy.Present)
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorContains(t, err, "look for image")
	change, err := images.Plan(t.Context(), deploy.Absent)
	require.NoError(t, err)
	require.Equal(t, deploy.ActionNone, change.Action)

	// Nothing of a damaged bundle gets into a registry as an image.
	parts := entries(t, made.Path)
	for i := range parts {
		if parts[i].header.Size > 0 && i > 0 {
			parts[i].data[0] ^= 1
		}
	}
	damaged, err := bundle.Open(archive(t, parts))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, damaged.Close()) })
	site = charttest.NewImages(t)
	images = &bundle.Images{Bundle: damaged, Registry: bundle.Registry{Name: site.Host}, Images: made.Images}
	err = images.Apply(t.Context(), deploy.Present, func(string) {})
	require.ErrorIs(t, err, domain.ErrConflict)
	change, err = images.Plan(t.Context(), deploy.Present)
	require.NoError(t, err)
	require.Equal(t, "put 3 of 3 there", change.Summary)
}
