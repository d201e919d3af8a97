package bundle

import (
	"context"
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/nationtech/harmony-fleet/deploy"
)

// Images are the images of a bundle in the registry of a site.
type Images struct {
	Bundle   *Bundle
	Registry Registry
	// Only these are put there.
	Images []Image
}

var _ deploy.Resource = (*Images)(nil)

// ID implements deploy.Resource.
func (i *Images) ID() string { return "images in " + i.Registry.Name }

// Plan implements deploy.Resource.
func (i *Images) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	if goal == deploy.Absent {
		return deploy.Unchanged("kept: others may use them"), nil
	}
	missing, err := i.missing(ctx)
	if err != nil {
		return deploy.Change{}, err
	}
	if len(missing) == 0 {
		return deploy.Unchanged(fmt.Sprintf("all %d are there", len(i.Images))), nil
	}
	change := deploy.Change{Action: deploy.ActionCreate, Summary: fmt.Sprintf("put %d of %d there", len(missing), len(i.Images))}
	for _, image := range missing {
		change.Details = append(change.Details, image.Reference+" "+image.Digest.String())
	}
	return change, nil
}

// missing returns the images whose manifests the registry does not have. It has
// all that a manifest names before it has the manifest.
func (i *Images) missing(ctx context.Context) ([]Image, error) {
	var missing []Image
	for _, image := range i.Images {
		repository, err := i.repository(image)
		if err != nil {
			return nil, err
		}
		_, err = repository.Resolve(ctx, image.Digest.String())
		switch {
		case errors.Is(err, errdef.ErrNotFound):
			missing = append(missing, image)
		case err != nil:
			return nil, translate(err, i.Registry.Name, "look for image %s in %s", image.Reference, i.Registry.Name)
		}
	}
	return missing, nil
}

func (i *Images) repository(image Image) (*remote.Repository, error) {
	parsed, err := parseReference(image.Reference)
	if err != nil {
		return nil, err
	}
	return i.Registry.repository(parsed)
}

// Apply implements deploy.Resource.
func (i *Images) Apply(ctx context.Context, _ deploy.Goal, progress deploy.Progress) error {
	missing, err := i.missing(ctx)
	if err != nil {
		return err
	}
	for n, image := range missing {
		if err := i.push(ctx, image, func(note string) {
			progress(fmt.Sprintf("image %d/%d %s: %s", n+1, len(missing), image.Reference, note))
		}); err != nil {
			return translate(err, i.Registry.Name, "put image %s into %s", image.Reference, i.Registry.Name)
		}
	}
	return nil
}

func (i *Images) push(ctx context.Context, image Image, progress deploy.Progress) error {
	repository, err := i.repository(image)
	if err != nil {
		return err
	}
	blobs, err := blobsOf(ctx, i.Bundle, image.descriptor())
	if err != nil {
		return err
	}
	for n, blob := range blobs {
		there, err := repository.Exists(ctx, blob)
		if err != nil {
			return err
		}
		last := n == len(blobs)-1
		if there && !last {
			continue
		}
		progress(fmt.Sprintf("%d/%d, %s", n+1, len(blobs), bytesText(blob.Size)))
		if err := i.pushBlob(ctx, repository, blob, image, last); err != nil {
			return err
		}
	}
	return nil
}

// pushBlob pushes what the image consists of. The image itself gets a tag: some
// registries remove what has none.
func (i *Images) pushBlob(ctx context.Context, repository *remote.Repository, blob ocispec.Descriptor, image Image, last bool) error {
	reader, err := i.Bundle.Fetch(ctx, blob)
	if err != nil {
		return err
	}
	defer reader.Close()
	if !last {
		return repository.Push(ctx, blob, reader)
	}
	tag := strings.Replace(image.Digest.String(), ":", "-", 1)
	if parsed, err := parseReference(image.Reference); err == nil && parsed.Tag != "" {
		tag = parsed.Tag
	}
	return repository.PushReference(ctx, blob, reader, tag)
}
