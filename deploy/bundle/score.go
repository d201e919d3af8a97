package bundle

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// Releases returns those among resources: what Make takes.
func Releases(resources []deploy.Resource) []*kube.Release {
	var releases []*kube.Release
	for _, resource := range resources {
		if release, ok := deploy.Inner(resource).(*kube.Release); ok {
			releases = append(releases, release)
		}
	}
	return releases
}

// From returns the Score that takes the charts of another from a bundle, puts
// the images that it uses into a registry, and lets the cluster take them from
// there, by their digests. Neither repositories of charts nor other registries
// are asked for anything.
func From[T any](score deploy.Score[T], bundle *Bundle, registry Registry) deploy.Score[T] {
	return &from[T]{Score: score, bundle: bundle, registry: registry}
}

type from[T any] struct {
	deploy.Score[T]
	bundle   *Bundle
	registry Registry
}

// Resources implements deploy.Score. It is domain.ErrNotFound when the bundle
// lacks a chart or an image, and domain.ErrConflict when it has another chart
// than is pinned.
func (f *from[T]) Resources(topology T) ([]deploy.Resource, error) {
	resources, err := f.Score.Resources(topology)
	if err != nil {
		return nil, err
	}
	first := slices.IndexFunc(resources, func(r deploy.Resource) bool { _, ok := deploy.Inner(r).(*kube.Release); return ok })
	if first < 0 {
		return resources, nil
	}
	if err := f.registry.check(); err != nil {
		return nil, err
	}
	images := &Images{Bundle: f.bundle, Registry: f.registry}
	for _, release := range Releases(resources) {
		used, err := f.use(release)
		if err != nil {
			return nil, deploy.WithNext(fmt.Errorf("release %s/%s: bundle %s: %w", release.Namespace, release.Name, f.bundle.path, err),
				"make the bundle anew, from the file as it is now")
		}
		for _, image := range used {
			if !slices.Contains(images.Images, image) {
				images.Images = append(images.Images, image)
			}
		}
	}
	return slices.Insert(resources, first, deploy.Resource(images)), nil
}

// use lets a release take its chart and images from the bundle, and returns the images.
func (f *from[T]) use(release *kube.Release) ([]Image, error) {
	chart, err := f.chart(release)
	if err != nil {
		return nil, err
	}
	texts, err := chart.Images(release.Namespace, release.Name, release.Values)
	if err != nil {
		return nil, err
	}
	release.Source = loaded{chart: chart}
	release.Images = &kube.Images{From: f.registry.Name, References: map[string]string{}, PullSecret: f.registry.PullSecret}
	var used []Image
	for _, text := range texts {
		image, err := f.bundle.Index.image(text)
		if err != nil {
			return nil, err
		}
		reference, err := parseReference(text)
		if err != nil {
			return nil, err
		}
		target := f.registry.target(reference)
		target.Reference = image.Digest.String()
		release.Images.References[text] = target.String()
		used = append(used, image)
	}
	return used, nil
}

// chart is that of this program, or of the bundle if it is the pinned one.
func (f *from[T]) chart(release *kube.Release) (*kube.Chart, error) {
	if directory, ok := release.Source.(kube.Directory); ok && directory.Embedded {
		return directory.Read()
	}
	name := release.Namespace + "/" + release.Name
	at := slices.IndexFunc(f.bundle.Index.Charts, func(c Chart) bool { return slices.Contains(c.Releases, name) })
	if at < 0 {
		return nil, domain.Errorf(domain.ErrNotFound, "it has no chart for this release")
	}
	have := f.bundle.Index.Charts[at]
	pinned, version, digest := kube.Pin(release.Source)
	switch {
	case pinned != "" && pinned != have.Name, version != "" && strings.TrimPrefix(version, "v") != strings.TrimPrefix(have.Version, "v"):
		return nil, domain.Errorf(domain.ErrConflict, "its chart is %s %s, and %s %s is asked for", have.Name, have.Version, pinned, version)
	case digest != "" && digest != have.Digest:
		return nil, domain.Errorf(domain.ErrConflict, "the digest of its chart %s is %s, and %s is pinned", have.Name, have.Digest, digest)
	}
	return f.bundle.chart(have)
}

// loaded is a chart that was read already.
type loaded struct{ chart *kube.Chart }

// Load implements kube.ChartSource.
func (l loaded) Load(context.Context) (*kube.Chart, error) { return l.chart, nil }
