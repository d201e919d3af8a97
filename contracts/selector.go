package contracts

import (
	"maps"
	"slices"
)

// SelectorOperator relates a label key to a set of values.
type SelectorOperator string

// The operators of a label selector requirement, as in Kubernetes.
const (
	SelectorIn           SelectorOperator = "In"
	SelectorNotIn        SelectorOperator = "NotIn"
	SelectorExists       SelectorOperator = "Exists"
	SelectorDoesNotExist SelectorOperator = "DoesNotExist"
)

// LabelSelector chooses devices by their labels, as in Kubernetes: all of
// matchLabels and all of matchExpressions must hold. The empty selector
// chooses every device.
type LabelSelector struct {
	MatchLabels      map[string]string     `json:"matchLabels,omitempty"`
	MatchExpressions []SelectorRequirement `json:"matchExpressions,omitempty"`
}

// SelectorRequirement is one condition on one label key. In and NotIn need
// values; Exists and DoesNotExist must have none.
type SelectorRequirement struct {
	Key      string           `json:"key"`
	Operator SelectorOperator `json:"operator"`
	Values   []string         `json:"values,omitempty"`
}

// Validate checks keys, operators and values.
func (s LabelSelector) Validate() error {
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		if err := checkLabelKey(key); err != nil {
			return in("matchLabels", err)
		}
		if err := checkLabelValue(s.MatchLabels[key]); err != nil {
			return in("matchLabels."+key, err)
		}
	}
	for i, requirement := range s.MatchExpressions {
		if err := requirement.Validate(); err != nil {
			return inItem("matchExpressions", i, err)
		}
	}
	return nil
}

// Validate checks one requirement.
func (r SelectorRequirement) Validate() error {
	if err := checkLabelKey(r.Key); err != nil {
		return in("key", err)
	}
	switch r.Operator {
	case SelectorIn, SelectorNotIn:
		if len(r.Values) == 0 {
			return invalid("values", "must not be empty for operator %s", r.Operator)
		}
	case SelectorExists, SelectorDoesNotExist:
		if len(r.Values) > 0 {
			return invalid("values", "must be empty for operator %s", r.Operator)
		}
	default:
		return invalid("operator", "%q is unknown: use In, NotIn, Exists or DoesNotExist", r.Operator)
	}
	for i, value := range r.Values {
		if err := checkLabelValue(value); err != nil {
			return inItem("values", i, err)
		}
	}
	return nil
}

// Matches reports whether labels satisfy the selector. As in Kubernetes, NotIn
// and DoesNotExist hold for a missing key.
func (s LabelSelector) Matches(labels map[string]string) bool {
	for key, want := range s.MatchLabels {
		if got, ok := labels[key]; !ok || got != want {
			return false
		}
	}
	for _, requirement := range s.MatchExpressions {
		if !requirement.matches(labels) {
			return false
		}
	}
	return true
}

func (r SelectorRequirement) matches(labels map[string]string) bool {
	value, ok := labels[r.Key]
	switch r.Operator {
	case SelectorIn:
		return ok && slices.Contains(r.Values, value)
	case SelectorNotIn:
		return !ok || !slices.Contains(r.Values, value)
	case SelectorExists:
		return ok
	case SelectorDoesNotExist:
		return !ok
	default:
		return false
	}
}
