package kube

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

// imagesLabel keeps at the release from where it has its images.
const imagesLabel = "harmony-fleet/images"

// Images says from where a release gets its images, instead of from where its
// chart says.
type Images struct {
	// From is in a few words where that is, such as the registry.
	From string
	// References has for each image, as the chart writes it, the reference to use.
	// An image that is not among them is refused.
	References map[string]string
	// PullSecret names a Secret of the release's namespace with the login for
	// them, which each pod gets; optional.
	PullSecret string
}

// mark is the digest of all of it as a label takes it; empty for nil.
func (i *Images) mark() string {
	if i == nil {
		return ""
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%q\n", i.PullSecret)
	for _, reference := range slices.Sorted(maps.Keys(i.References)) {
		fmt.Fprintf(hash, "%q %q\n", reference, i.References[reference])
	}
	return hex.EncodeToString(hash.Sum(nil))[:40]
}

// renderedFor is the Kubernetes for which charts are rendered without a cluster:
// that of the libraries. Helm's own default is long out of date.
const renderedFor = "v1.37.0"

// Images returns the references of all images that a release of the chart uses,
// sorted and as the chart writes them: those of pods and of what makes pods,
// hooks among it, but not of the chart's own tests. No cluster is asked, so what
// a chart does only in a cluster of some kind is not seen.
func (c *Chart) Images(namespace, name string, values map[string]any) ([]string, error) {
	opened, err := c.open()
	if err != nil {
		return nil, err
	}
	given, err := plainValues(values)
	if err != nil {
		return nil, err
	}
	install := action.NewInstall(&action.Configuration{Log: func(string, ...any) {}})
	install.ReleaseName, install.Namespace, install.DryRun, install.ClientOnly = name, namespace, true, true
	if install.KubeVersion, err = chartutil.ParseKubeVersion(renderedFor); err != nil {
		return nil, err
	}
	rendered, err := install.Run(opened, given)
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "render chart %s %s", c.Name, c.Version)
	}
	manifests := []string{rendered.Manifest}
	for _, hook := range rendered.Hooks {
		if slices.ContainsFunc(hook.Events, func(event release.HookEvent) bool { return event != release.HookTest }) {
			manifests = append(manifests, hook.Manifest)
		}
	}
	found := map[string]bool{}
	for _, manifest := range manifests {
		err := documents([]byte(manifest), func(_ []byte, object map[string]any) error {
			_, err := visitImages(object, "", func(reference string) (string, error) {
				found[reference] = true
				return reference, nil
			})
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("chart %s %s: %w", c.Name, c.Version, err)
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// documents calls do for each document of a manifest, with its text.
func documents(manifest []byte, do func(text []byte, object map[string]any) error) error {
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	for {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return domain.WrapError(domain.ErrInvalid, err, "manifest")
		}
		var object map[string]any
		if err := sigsyaml.Unmarshal(text, &object); err != nil {
			return domain.WrapError(domain.ErrInvalid, err, "manifest")
		}
		if err := do(text, object); err != nil {
			return err
		}
	}
}

// visitImages puts in the place of each image's reference what visit returns for
// it, and returns how many there were. Pods get the Secret for pulling.
func visitImages(value any, pullSecret string, visit func(string) (string, error)) (int, error) {
	found := 0
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			n, err := visitImages(element, pullSecret, visit)
			if err != nil {
				return 0, err
			}
			found += n
		}
	case map[string]any:
		n, err := visitPod(value, pullSecret, visit)
		if err != nil {
			return 0, err
		}
		found += n
		for _, key := range slices.Sorted(maps.Keys(value)) {
			n, err := visitImages(value[key], pullSecret, visit)
			if err != nil {
				return 0, err
			}
			found += n
		}
	}
	return found, nil
}

// visitPod handles what may be the spec of a pod: what has containers with images.
func visitPod(spec map[string]any, pullSecret string, visit func(string) (string, error)) (int, error) {
	found := 0
	replace := func(holder map[string]any, key string) error {
		reference, ok := holder[key].(string)
		if !ok || reference == "" {
			return nil
		}
		found++
		var err error
		holder[key], err = visit(reference)
		return err
	}
	for _, kind := range []string{"containers", "initContainers", "ephemeralContainers"} {
		for _, container := range mapsOf(spec[kind]) {
			if err := replace(container, "image"); err != nil {
				return 0, err
			}
		}
	}
	if found == 0 {
		return 0, nil
	}
	for _, volume := range mapsOf(spec["volumes"]) {
		if image, ok := volume["image"].(map[string]any); ok {
			if err := replace(image, "reference"); err != nil {
				return 0, err
			}
		}
	}
	if pullSecret != "" && !slices.ContainsFunc(mapsOf(spec["imagePullSecrets"]), func(s map[string]any) bool { return s["name"] == pullSecret }) {
		secrets, _ := spec["imagePullSecrets"].([]any)
		spec["imagePullSecrets"] = append(secrets, map[string]any{"name": pullSecret})
	}
	return found, nil
}

// mapsOf returns the maps in a list, and nothing of what is none.
func mapsOf(list any) []map[string]any {
	elements, _ := list.([]any)
	var found []map[string]any
	for _, element := range elements {
		if element, ok := element.(map[string]any); ok {
			found = append(found, element)
		}
	}
	return found
}

// rewrite puts the references to use into a manifest. What is one of them
// already stays, so it can be done twice. Documents without images keep their text.
func (i *Images) rewrite(manifest []byte, strict bool) ([]byte, error) {
	known := map[string]bool{}
	for _, reference := range i.References {
		known[reference] = true
	}
	var out bytes.Buffer
	err := documents(manifest, func(text []byte, object map[string]any) error {
		n, err := visitImages(object, i.PullSecret, func(reference string) (string, error) {
			if to, ok := i.References[reference]; ok {
				return to, nil
			}
			if known[reference] || !strict {
				return reference, nil
			}
			return "", deploy.WithNext(domain.Errorf(domain.ErrNotFound, "image %s is not among those of %s", reference, i.From),
				"make the bundle anew, from the file as it is now")
		})
		if err != nil {
			return err
		}
		if n > 0 {
			if text, err = sigsyaml.Marshal(object); err != nil {
				return domain.WrapError(domain.ErrInvalid, err, "manifest")
			}
		}
		out.WriteString("---\n")
		out.Write(bytes.TrimPrefix(text, []byte("---\n")))
		out.WriteString("\n")
		return nil
	})
	return out.Bytes(), err
}

// Run implements Helm's PostRenderer, which does not see hooks.
func (i *Images) Run(rendered *bytes.Buffer) (*bytes.Buffer, error) {
	rewritten, err := i.rewrite(rendered.Bytes(), true)
	return bytes.NewBuffer(rewritten), err
}

// imagesClient rewrites what Helm builds: its hooks.
type imagesClient struct {
	*helmkube.Client
	images *Images
}

// Build implements Helm's kube.Interface. Helm validates what it is about to
// create, and not what it only looks up.
func (c *imagesClient) Build(reader io.Reader, validate bool) (helmkube.ResourceList, error) {
	manifest, err := io.ReadAll(reader)
	if err != nil {
		return nil, err
	}
	if manifest, err = c.images.rewrite(manifest, validate); err != nil {
		return nil, err
	}
	return c.Client.Build(bytes.NewReader(manifest), validate)
}
