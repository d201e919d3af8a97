package charttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// UnknownKeys returns the keys of values that a chart's own values.yaml does not
// have. What lies below an empty map or list there, or below a path in freeForm,
// can be anything. A key of an element of a list is compared with the list's
// first element.
func UnknownKeys(tb testing.TB, reference []byte, values map[string]any, freeForm ...string) []string {
	tb.Helper()
	known := map[string]any{}
	if err := yaml.Unmarshal(reference, &known); err != nil {
		tb.Fatalf("values.yaml: %v", err)
	}
	// Through the wire's form, so that all maps and lists are of one kind.
	data, err := yaml.Marshal(values)
	if err != nil {
		tb.Fatal(err)
	}
	wanted := map[string]any{}
	if err := yaml.Unmarshal(data, &wanted); err != nil {
		tb.Fatal(err)
	}
	var unknown []string
	walk("", known, wanted, freeForm, &unknown)
	return unknown
}

func walk(path string, known, wanted any, freeForm []string, unknown *[]string) {
	if slices.Contains(freeForm, path) {
		return
	}
	switch wanted := wanted.(type) {
	case map[string]any:
		have, ok := known.(map[string]any)
		if ok && len(have) == 0 && path != "" {
			return
		}
		if !ok {
			*unknown = append(*unknown, path+" is no map")
			return
		}
		for _, key := range slices.Sorted(maps.Keys(wanted)) {
			at := strings.TrimPrefix(path+"."+key, ".")
			value, ok := have[key]
			if !ok {
				*unknown = append(*unknown, at)
				continue
			}
			walk(at, value, wanted[key], freeForm, unknown)
		}
	case []any:
		have, ok := known.([]any)
		if !ok {
			*unknown = append(*unknown, path+" is no list")
			return
		}
		for i, element := range wanted {
			if len(have) > 0 {
				walk(fmt.Sprintf("%s[%d]", path, i), have[0], element, freeForm, unknown)
			}
		}
	default:
		switch known.(type) {
		case map[string]any, []any:
			*unknown = append(*unknown, path+" is no plain value")
		}
	}
}
