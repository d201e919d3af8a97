package domain

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// FleetDeployment declares what runs on which devices.
type FleetDeployment struct {
	Name contracts.DeploymentName
	// Generation counts the changes of the spec. The store sets it.
	Generation  uint64
	Labels      contracts.Labels
	Origin      contracts.Origin
	Spec        contracts.DeploymentSpec
	ChangeCause string
	// CreatedAt and UpdatedAt are set by the store.
	CreatedAt time.Time
	UpdatedAt time.Time
	// Revision is that of the store, zero when not stored.
	Revision Revision
}

// DeploymentFromManifest returns the deployment that a manifest declares.
func DeploymentFromManifest(manifest contracts.Manifest, origin contracts.Origin) FleetDeployment {
	return FleetDeployment{
		Name:        contracts.DeploymentName(manifest.Metadata.Name),
		Labels:      manifest.Metadata.Labels,
		Origin:      origin,
		Spec:        manifest.Spec,
		ChangeCause: manifest.Metadata.Annotations[ChangeCauseAnnotation],
	}
}

// ChangeCauseAnnotation is the annotation of a manifest that says why.
const ChangeCauseAnnotation = "fleet.nationtech.io/change-cause"

// Record returns the stored form.
func (d FleetDeployment) Record() contracts.DeploymentRecord {
	return contracts.DeploymentRecord{
		Name:        d.Name,
		Generation:  d.Generation,
		Labels:      d.Labels,
		Origin:      d.Origin,
		Spec:        d.Spec,
		ChangeCause: d.ChangeCause,
		CreatedAt:   d.CreatedAt,
		UpdatedAt:   d.UpdatedAt,
	}
}

// DeploymentFromRecord is the inverse of Record.
func DeploymentFromRecord(record contracts.DeploymentRecord, revision Revision) FleetDeployment {
	return FleetDeployment{
		Name:        record.Name,
		Generation:  record.Generation,
		Labels:      record.Labels,
		Origin:      record.Origin,
		Spec:        record.Spec,
		ChangeCause: record.ChangeCause,
		CreatedAt:   record.CreatedAt,
		UpdatedAt:   record.UpdatedAt,
		Revision:    revision,
	}
}

// DeploymentChange is a step of DeploymentStore.Watch.
type DeploymentChange = Change[contracts.DeploymentName, FleetDeployment]

// DeploymentStore is the source of truth for deployments. It keeps the last
// contracts.DeploymentHistory specs of each. It is safe for concurrent use. No
// method retries; an unreachable store gives ErrUnavailable. It stores what it
// is given: whether a spec makes sense is checked by ApplyDeployment.
type DeploymentStore interface {
	// Get returns the deployment, or ErrNotFound.
	Get(ctx context.Context, name contracts.DeploymentName) (FleetDeployment, error)
	// Create stores a deployment that does not exist and returns it with its
	// revision: ErrAlreadyExists when it exists. Its generation is 1, or one
	// more than the last of a deleted deployment of that name, so that a
	// generation never means two specs.
	Create(ctx context.Context, deployment FleetDeployment) (FleetDeployment, error)
	// Update replaces the deployment whose stored revision is
	// deployment.Revision and returns it with its new revision and the next
	// generation: ErrConflict when another revision is stored, ErrNotFound when
	// none is. CreatedAt is kept.
	Update(ctx context.Context, deployment FleetDeployment) (FleetDeployment, error)
	// Delete removes the deployment whose stored revision is the given one,
	// with the errors of Update.
	Delete(ctx context.Context, name contracts.DeploymentName, revision Revision) error
	// Watch follows the deployments; see Change for the protocol.
	Watch(ctx context.Context, after Revision, handle func(DeploymentChange) error) error
	// History returns the kept specs of an existing deployment, oldest first,
	// the current one last, or ErrNotFound. Specs from before a deletion are
	// left out.
	History(ctx context.Context, name contracts.DeploymentName) ([]FleetDeployment, error)
}

// StatusChange is a step of DeploymentStatusStore.Watch.
type StatusChange = Change[contracts.DeploymentName, contracts.DeploymentStatus]

// DeploymentStatusStore keeps how far each deployment is, apart from its spec.
// The leading operator alone writes it. Safe for concurrent use; no retries.
type DeploymentStatusStore interface {
	// Get returns the status, or ErrNotFound.
	Get(ctx context.Context, name contracts.DeploymentName) (contracts.DeploymentStatus, error)
	// Put stores the status, replacing any other.
	Put(ctx context.Context, name contracts.DeploymentName, status contracts.DeploymentStatus) error
	// Delete removes the status; nil when there is none.
	Delete(ctx context.Context, name contracts.DeploymentName) error
	// Watch follows the statuses; see Change for the protocol.
	Watch(ctx context.Context, after Revision, handle func(StatusChange) error) error
}

// ListDeployments returns all deployments, in no particular order.
func ListDeployments(ctx context.Context, store DeploymentStore) ([]FleetDeployment, error) {
	var all []FleetDeployment
	err := store.Watch(ctx, 0, func(change DeploymentChange) error {
		switch change.Kind {
		case ChangePut:
			all = append(all, change.Value)
		case ChangeCaughtUp:
			return errCaughtUp
		case ChangeDeleted:
		}
		return nil
	})
	return all, ended(ctx, err)
}

// errCaughtUp ends a watch that only wanted what is stored.
var errCaughtUp = errors.New("caught up")

// ended tells a watch that saw everything from one that was cut short.
func ended(ctx context.Context, err error) error {
	if errors.Is(err, errCaughtUp) {
		return nil
	}
	if err == nil {
		return ctx.Err()
	}
	return err
}

// ApplyOutcome is what ApplyDeployment did.
type ApplyOutcome string

// The outcomes, in the words of kubectl.
const (
	OutcomeCreated    ApplyOutcome = "created"
	OutcomeConfigured ApplyOutcome = "configured"
	OutcomeUnchanged  ApplyOutcome = "unchanged"
)

// ApplyDeployment creates the deployment, or updates it when its spec, labels
// or change cause differ, and tries again when somebody else was faster. It
// returns ErrInvalid when the spec does not validate or asks for what this
// version cannot do, and ErrConflict when the deployment is managed from
// elsewhere.
func ApplyDeployment(ctx context.Context, store DeploymentStore, want FleetDeployment) (FleetDeployment, ApplyOutcome, error) {
	if err := CheckDeployment(want); err != nil {
		return FleetDeployment{}, "", err
	}
	for {
		stored, outcome, err := applyOnce(ctx, store, want)
		if !errors.Is(err, errRace) {
			return stored, outcome, err
		}
		if err := ctx.Err(); err != nil {
			return FleetDeployment{}, "", err
		}
	}
}

// errRace means that the deployment changed between reading and writing it.
var errRace = errors.New("changed meanwhile")

func applyOnce(ctx context.Context, store DeploymentStore, want FleetDeployment) (FleetDeployment, ApplyOutcome, error) {
	current, err := store.Get(ctx, want.Name)
	switch {
	case errors.Is(err, ErrNotFound):
		stored, err := store.Create(ctx, want)
		if errors.Is(err, ErrAlreadyExists) {
			return FleetDeployment{}, "", errRace
		}
		return stored, OutcomeCreated, err
	case err != nil:
		return FleetDeployment{}, "", err
	case current.Manager() != want.Manager():
		return FleetDeployment{}, "", Errorf(ErrConflict,
			"deployment %q is managed by %s: change it there, or delete it there first", want.Name, current.Manager())
	case SameDeclaration(current, want):
		return current, OutcomeUnchanged, nil
	}
	want.Revision = current.Revision
	stored, err := store.Update(ctx, want)
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
		return FleetDeployment{}, "", errRace
	}
	return stored, OutcomeConfigured, err
}

// Manager says who may change the deployment.
func (d FleetDeployment) Manager() contracts.Origin {
	if d.Origin == "" {
		return contracts.OriginCLI
	}
	return d.Origin
}

// SameDeclaration reports whether two deployments declare the same: their specs
// and labels are equal.
func SameDeclaration(a, b FleetDeployment) bool {
	if len(a.Labels) == 0 && len(b.Labels) == 0 {
		a.Labels, b.Labels = nil, nil
	}
	return reflect.DeepEqual(a.Spec, b.Spec) && reflect.DeepEqual(a.Labels, b.Labels)
}

// CheckDeployment returns ErrInvalid when the deployment does not validate, or
// asks for what this version cannot do.
func CheckDeployment(d FleetDeployment) error {
	if err := d.Name.Validate(); err != nil {
		return WrapError(ErrInvalid, err, "deployment %q", d.Name)
	}
	if err := d.Labels.Validate(); err != nil {
		return WrapError(ErrInvalid, err, "deployment %q: labels", d.Name)
	}
	if err := d.Spec.Validate(); err != nil {
		return WrapError(ErrInvalid, err, "deployment %q: spec", d.Name)
	}
	if err := checkTemplates(d.Spec.Score.Data); err != nil {
		return WrapError(ErrInvalid, err, "deployment %q: spec.score.data", d.Name)
	}
	return WrapError(ErrInvalid, checkRollout(d.Spec.Rollout), "deployment %q: spec.rollout", d.Name)
}

// checkRollout refuses what is not built, rather than ignore it.
func checkRollout(r contracts.Rollout) error {
	if r.Strategy != "" && r.Strategy != contracts.StrategyAllAtOnce {
		return &contracts.FieldError{Field: "strategy", Reason: "this version has AllAtOnce only; " + string(r.Strategy) + " is not available yet"}
	}
	set := []struct {
		field string
		is    bool
	}{
		{"maxUnavailable", !r.MaxUnavailable.IsZero()},
		{"minReady", r.MinReady != 0},
		{"progressDeadline", r.ProgressDeadline != 0},
		{"maxFailures", !r.MaxFailures.IsZero()},
		{"onFailure", r.OnFailure != ""},
	}
	for _, option := range set {
		if option.is {
			return &contracts.FieldError{Field: option.field, Reason: "has no effect with the strategy AllAtOnce: remove it"}
		}
	}
	return nil
}
