package contracts

import (
	"encoding/json"
	"strings"
)

// ScoreType names the shape of a score's data.
type ScoreType string

// The score types that this version knows.
const (
	ScorePodmanV0  ScoreType = "PodmanV0"
	ScoreProcessV0 ScoreType = "ProcessV0"
)

// ReconcileScore says what to run: the canonical seam between operator and
// agent, adjacently tagged as {"type": "PodmanV0", "data": {…}}. The data of a
// type that is not known here is kept as it is.
type ReconcileScore struct {
	Type ScoreType       `json:"type"`
	Data json.RawMessage `json:"data"`
}

// Known reports whether this version knows the score's type.
func (s ReconcileScore) Known() bool {
	return s.Type == ScorePodmanV0 || s.Type == ScoreProcessV0
}

// Validate checks a score as a person writes it: the type must be known and
// the data must hold no unknown field. Texts that hold a {{ template }} are
// checked for their form only once expanded.
func (s ReconcileScore) Validate() error {
	if err := s.validateForm(); err != nil {
		return err
	}
	var err error
	switch s.Type {
	case ScorePodmanV0:
		err = s.decodeStrict(new(PodmanV0))
	case ScoreProcessV0:
		err = s.decodeStrict(new(ProcessV0))
	default:
		return invalid("type", "%q is not a known score type: use %s or %s", s.Type, ScorePodmanV0, ScoreProcessV0)
	}
	return in("data", err)
}

func (s ReconcileScore) decodeStrict(into Document) error {
	if err := unmarshal(s.Data, into, true); err != nil {
		return err
	}
	return into.Validate()
}

// validateForm checks the tag without looking into the data.
func (s ReconcileScore) validateForm() error {
	if s.Type == "" {
		return invalid("type", "must not be empty: use %s or %s", ScorePodmanV0, ScoreProcessV0)
	}
	if len(s.Type) > maxNameLength {
		return invalid("type", "must be at most %d bytes", maxNameLength)
	}
	if isNull(s.Data) {
		return invalid("data", "must not be empty")
	}
	return nil
}

// PodmanV0 decodes and validates the data of a PodmanV0 score. Unknown fields
// are ignored: a newer operator may have written them.
func (s ReconcileScore) PodmanV0() (PodmanV0, error) { return Decode[PodmanV0](s.Data) }

// ProcessV0 decodes and validates the data of a ProcessV0 score.
func (s ReconcileScore) ProcessV0() (ProcessV0, error) { return Decode[ProcessV0](s.Data) }

// templated reports whether s holds a template, whose result is not known yet.
func templated(s string) bool { return strings.Contains(s, "{{") }
