package operator

import (
	"maps"
	"slices"
	"strings"
	"unique"

	"github.com/nationtech/harmony-fleet/contracts"
)

// labelSet is a set of labels in the space of a pointer: devices with equal
// labels share it, and equal sets are equal values. The zero value is empty.
type labelSet struct {
	packed unique.Handle[string]
}

// packLabels returns the set of the given labels.
func packLabels(labels contracts.Labels) labelSet {
	if len(labels) == 0 {
		return labelSet{}
	}
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		text.WriteString(key)
		text.WriteByte('=') // in no key
		text.WriteString(labels[key])
		text.WriteByte('\n') // in no value
	}
	return labelSet{packed: unique.Make(text.String())}
}

// labels returns the set as a map of the caller's own; nil when empty.
func (s labelSet) labels() contracts.Labels {
	if s == (labelSet{}) {
		return nil
	}
	labels := contracts.Labels{}
	for line := range strings.Lines(s.packed.Value()) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		labels[key] = value
	}
	return labels
}
