package selector

import (
	"maps"
	"slices"
)

// FormatLabels returns "key=value" for each label, sorted by key.
func FormatLabels(labels map[string]string) []string {
	pairs := make([]string, 0, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return pairs
}
