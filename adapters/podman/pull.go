package podman

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// progressEvery bounds how often progress is told.
const progressEvery = time.Second

// image makes sure that a container's image is on the host and returns it. An
// image that is there is used without any network, unless refresh is true and
// the policy is "always".
func (r *Runtime) image(ctx context.Context, w wanted, refresh bool, progress domain.Progress) (engine.Image, error) {
	image, err := r.client.Image(ctx, w.spec.Image)
	missing := errors.Is(err, domain.ErrNotFound)
	if err != nil && !missing {
		return image, failure(contracts.ReasonImagePullFailed, w.label()+": cannot look up image "+w.Image, err, w.Env)
	}
	if !missing && !(refresh && w.PullPolicy == contracts.PullAlways) {
		return image, nil
	}
	if w.PullPolicy == contracts.PullNever {
		return image, failed(contracts.ReasonImagePullFailed,
			w.label()+": image "+w.Image+" is not on the device and pullPolicy is never: load it there, or use missing")
	}
	progress(contracts.ReasonImagePulling, "pulling "+w.Image)
	if err := r.pull(ctx, w.Image, progress); err != nil {
		return image, failure(contracts.ReasonImagePullFailed, w.label()+": cannot pull image "+w.Image, err, w.Env)
	}
	pulled, err := r.client.Image(ctx, w.spec.Image)
	if err != nil {
		return image, failure(contracts.ReasonImagePullFailed, w.label()+": image "+w.Image+" was pulled but is not there", err, w.Env)
	}
	if pulled.ID != image.ID {
		r.state.edit(ctx, func(rec *record) {
			if !slices.Contains(rec.Pulled[pulled.ID], w.spec.Image) {
				rec.Pulled[pulled.ID] = append(rec.Pulled[pulled.ID], w.spec.Image)
			}
		})
	}
	return pulled, nil
}

// label names the container in messages.
func (w wanted) label() string {
	if w.kind == kindInit {
		return "init container " + w.Name
	}
	return "service " + w.Name
}

var errPullTimeout = errors.New("the pull took too long")

func (r *Runtime) pull(ctx context.Context, image string, progress domain.Progress) error {
	ref := parseReference(image)
	found, err := credentials(authFiles(r.options.AuthFile), ref)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeoutCause(ctx, r.options.PullTimeout, errPullTimeout)
	defer cancel()
	meter := pullMeter{image: image, layers: map[string]engine.PullProgress{}, tell: progress}
	err = r.client.Pull(bounded, ref.repository(), ref.version(), found, meter.add)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return fmt.Errorf("not done after %s: check the link to the registry, or raise the pull timeout: %w", r.options.PullTimeout, errPullTimeout)
	}
	return err
}

// pullMeter adds layers up.
type pullMeter struct {
	image  string
	layers map[string]engine.PullProgress
	tell   domain.Progress
	told   time.Time
}

func (m *pullMeter) add(message engine.PullProgress) {
	if message.Layer != "" && message.Total > 0 {
		m.layers[message.Layer] = message
	}
	if time.Since(m.told) < progressEvery {
		return
	}
	m.told = time.Now()
	var current, total int64
	for _, layer := range m.layers {
		current += layer.Current
		total += layer.Total
	}
	text := "pulling " + m.image
	if total > 0 {
		text += fmt.Sprintf(": %.1f of %.1f MB", float64(current)/1e6, float64(total)/1e6)
	}
	m.tell(contracts.ReasonImagePulling, text)
}
