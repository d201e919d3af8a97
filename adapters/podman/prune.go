package podman

import (
	"context"
	"errors"
	"slices"

	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
	"github.com/nationtech/harmony-fleet/domain"
)

// noTag is how engines write that an image has no tag.
const noTag = "<none>:<none>"

// prune removes images that this runtime pulled and that are neither current
// nor previous of any service, nor used by any container. An image that was
// there before, or that somebody else gave a name, stays. What fails is tried
// again after the next change; it is skipped while images are being fetched.
func (r *Runtime) prune(ctx context.Context) {
	if !r.images.TryLock() {
		return
	}
	defer r.images.Unlock()
	kept, pulled := map[string]bool{}, map[string][]string{}
	r.state.read(func(rec *record) {
		for _, deployment := range rec.Deployments {
			for _, service := range deployment.Services {
				kept[service.Current], kept[service.Previous] = true, true
			}
		}
		for id, refs := range rec.Pulled {
			pulled[id] = slices.Clone(refs)
		}
	})
	for id, refs := range pulled {
		if kept[id] {
			continue
		}
		if err := r.pruneImage(ctx, id, refs); err != nil {
			r.log.InfoContext(ctx, "image not pruned", "image", id, "error", err)
			continue
		}
		r.state.edit(ctx, func(rec *record) { delete(rec.Pulled, id) })
	}
}

// pruneImage takes our names from an image, and removes it when no other name
// is left. It returns nil when there is nothing more to be done.
func (r *Runtime) pruneImage(ctx context.Context, id string, refs []string) error {
	used, err := r.client.ImageUsed(ctx, id)
	if err != nil || used {
		return errors.Join(err, errImageUsed(used))
	}
	image, err := r.client.ImageByID(ctx, id)
	if errors.Is(err, domain.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if foreign(image, refs) {
		for _, ref := range refs {
			if named, err := r.client.Image(ctx, ref); err == nil && named.ID == id {
				if err := r.client.RemoveImage(ctx, ref); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, tag := range image.RepoTags {
		if tag == noTag {
			continue
		}
		if err := r.client.RemoveImage(ctx, tag); err != nil {
			return err
		}
	}
	if _, err := r.client.ImageByID(ctx, id); errors.Is(err, domain.ErrNotFound) {
		return nil // it went with its last name
	}
	return r.client.RemoveImage(ctx, id)
}

func errImageUsed(used bool) error {
	if !used {
		return nil
	}
	return domain.Errorf(domain.ErrConflict, "a container uses it")
}

// foreign reports whether somebody else gave the image a tag.
func foreign(image engine.Image, refs []string) bool {
	ours := map[string]bool{}
	for _, ref := range refs {
		parsed := parseReference(ref)
		ours[parsed.repository()+":"+parsed.tag] = true
	}
	return slices.ContainsFunc(image.RepoTags, func(tag string) bool {
		parsed := parseReference(tag)
		return tag != noTag && !ours[parsed.repository()+":"+parsed.tag]
	})
}
