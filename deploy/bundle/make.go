package bundle

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// Options of Make. The zero value works.
type Options struct {
	// Platforms of the images, such as "linux/arm64"; all that they have when
	// empty, and then each image keeps its digest.
	Platforms []string
	// Images are in files instead of registries.
	Images []LocalImage
	// Progress takes notes of the work; may be nil.
	Progress deploy.Progress
}

// Summary is what was made.
type Summary struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
	// Digest is that of the whole file, for those who carry it.
	Digest digest.Digest `json:"digest"`
	Charts []Chart       `json:"charts"`
	Images []Image       `json:"images"`
}

// Make writes the charts of the releases and all images that they use into one
// archive. The same charts and images give the same bytes. The file is there
// when it is whole, and not before; one of that name is replaced. Nothing of the
// releases' values gets into it. A tag of an image is looked up once and is its
// digest from then on.
func Make(ctx context.Context, path string, releases []*kube.Release, options Options) (Summary, error) {
	if options.Progress == nil {
		options.Progress = func(string) {}
	}
	for _, platform := range options.Platforms {
		if parts := strings.Split(platform, "/"); len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
			return Summary{}, domain.Errorf(domain.ErrInvalid, "platform %q is none: write linux/arm64 or linux/arm/v7", platform)
		}
	}
	m := &maker{
		options: options,
		index:   Index{Format: Format, Platforms: slices.Sorted(slices.Values(options.Platforms)), Charts: []Chart{}, Images: []Image{}},
		content: map[string]func(context.Context) (io.ReadCloser, error){},
	}
	texts, err := m.charts(ctx, releases)
	if err == nil {
		err = m.images(ctx, texts)
	}
	if err == nil {
		err = m.layout()
	}
	if err != nil {
		return Summary{}, err
	}
	slices.SortFunc(m.index.Entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	written, err := m.write(ctx, path)
	if err != nil {
		return Summary{}, fmt.Errorf("write %s: %w", path, err)
	}
	return Summary{Path: path, Size: written.size, Digest: written.digest, Charts: m.index.Charts, Images: m.index.Images}, nil
}

type maker struct {
	options Options
	index   Index
	// content opens the entries, by name.
	content map[string]func(context.Context) (io.ReadCloser, error)
}

// add adds an entry once.
func (m *maker) add(entry Entry, open func(context.Context) (io.ReadCloser, error)) {
	if _, ok := m.content[entry.Name]; !ok {
		m.index.Entries = append(m.index.Entries, entry)
		m.content[entry.Name] = open
	}
}

func (m *maker) addBytes(name string, data []byte) {
	m.add(Entry{Name: name, Size: int64(len(data)), Digest: digest.FromBytes(data)}, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(data))), nil
	})
}

// charts adds the charts that this program does not bring, and returns the
// references of all images.
func (m *maker) charts(ctx context.Context, releases []*kube.Release) ([]string, error) {
	texts := map[string]bool{}
	places := map[string]int{}
	for i, release := range releases {
		name := release.Namespace + "/" + release.Name
		m.options.Progress(fmt.Sprintf("chart %d/%d of release %s", i+1, len(releases), name))
		chart, err := release.Load(ctx)
		if err != nil {
			return nil, fmt.Errorf("release %s: %w", name, err)
		}
		images, err := chart.Images(release.Namespace, release.Name, release.Values)
		if err != nil {
			return nil, fmt.Errorf("release %s: %w", name, err)
		}
		for _, text := range images {
			texts[text] = true
		}
		if embedded(release.Source) {
			continue
		}
		if at, ok := places[chart.Digest]; ok {
			m.index.Charts[at].Releases = append(m.index.Charts[at].Releases, name)
			continue
		}
		packed, err := chart.Pack()
		if err != nil {
			return nil, fmt.Errorf("release %s: %w", name, err)
		}
		places[chart.Digest] = len(m.index.Charts)
		entry := fmt.Sprintf("%s%s-%s-%s.tgz", chartsDir, chart.Name, chart.Version, strings.TrimPrefix(chart.Digest, "sha256:")[:8])
		m.index.Charts = append(m.index.Charts, Chart{Name: chart.Name, Version: chart.Version, Digest: chart.Digest, Entry: entry, Releases: []string{name}})
		m.addBytes(entry, packed)
	}
	return slices.Sorted(maps.Keys(texts)), nil
}

func embedded(source kube.ChartSource) bool {
	directory, ok := source.(kube.Directory)
	return ok && directory.Embedded
}

// images finds the images and adds what they consist of.
func (m *maker) images(ctx context.Context, texts []string) error {
	local := make([]layout, 0, len(m.options.Images))
	for _, image := range m.options.Images {
		opened, err := openLayout(ctx, image, texts)
		if err != nil {
			return err
		}
		local = append(local, opened)
	}
	seen := map[string]bool{}
	for i, text := range texts {
		image, err := parseReference(text)
		if err != nil {
			return err
		}
		if seen[image.String()] {
			continue
		}
		seen[image.String()] = true
		m.options.Progress(fmt.Sprintf("look up image %d/%d %s", i+1, len(texts), image))
		found, err := pull(ctx, image, local, m.options.Platforms)
		if err != nil {
			return err
		}
		m.index.Images = append(m.index.Images, found.image)
		for _, blob := range found.blobs {
			m.add(Entry{Name: blobEntry(blob.Digest), Size: blob.Size, Digest: blob.Digest}, func(ctx context.Context) (io.ReadCloser, error) {
				return &resuming{ctx: ctx, from: found.from, blob: blob}, nil
			})
		}
	}
	slices.SortFunc(m.index.Images, func(a, b Image) int { return cmp.Compare(a.Reference, b.Reference) })
	return nil
}

// layout makes the archive an OCI image layout.
func (m *maker) layout() error {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	for _, image := range m.index.Images {
		at := image.descriptor()
		at.Annotations = map[string]string{ocispec.AnnotationRefName: image.Reference}
		index.Manifests = append(index.Manifests, at)
	}
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	m.addBytes(imagesFile, data)
	data, err = json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	m.addBytes(layoutFile, data)
	return err
}
