package kube

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// differences returns the fields in which two states of an object differ, by
// their paths. Only numbers and truth values are shown: anything else can be a
// secret.
func differences(live, wanted *unstructured.Unstructured) []string {
	var paths []string
	diff("", cleaned(live), cleaned(wanted), &paths)
	return paths
}

// cleaned is the object without what the server alone decides.
func cleaned(object *unstructured.Unstructured) map[string]any {
	content := object.DeepCopy().Object
	delete(content, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"} {
		unstructured.RemoveNestedField(content, "metadata", field)
	}
	return content
}

func diff(path string, have, want any, paths *[]string) {
	if reflect.DeepEqual(have, want) {
		return
	}
	if from, ok := have.(map[string]any); ok {
		if to, ok := want.(map[string]any); ok {
			keys := slices.Concat(slices.Collect(maps.Keys(from)), slices.Collect(maps.Keys(to)))
			slices.Sort(keys)
			for _, key := range slices.Compact(keys) {
				diff(join(path, key), from[key], to[key], paths)
			}
			return
		}
	}
	if from, ok := have.([]any); ok {
		if to, ok := want.([]any); ok && len(from) == len(to) {
			for i := range from {
				diff(fmt.Sprintf("%s[%d]", path, i), from[i], to[i], paths)
			}
			return
		}
	}
	switch {
	case have == nil:
		*paths = append(*paths, path+": is missing")
	case want == nil:
		*paths = append(*paths, path+": is too much")
	case plain(have) && plain(want):
		*paths = append(*paths, fmt.Sprintf("%s: %v instead of %v", path, have, want))
	default:
		*paths = append(*paths, path+": differs")
	}
}

func join(path, key string) string {
	if strings.ContainsAny(key, "./") {
		key = fmt.Sprintf("[%q]", key)
		return path + key
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// plain says whether a value can be shown.
func plain(value any) bool {
	switch value.(type) {
	case bool, int64, float64:
		return true
	}
	return false
}

// some is the first of several paths, and how many more there are.
func some(paths []string) string {
	first, _, _ := strings.Cut(paths[0], ": ")
	if len(paths) == 1 {
		return first
	}
	return fmt.Sprintf("%s and %d more", first, len(paths)-1)
}
