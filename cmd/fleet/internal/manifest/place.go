package manifest

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony-fleet/contracts"
)

// place is where a field is written.
type place struct {
	line  int
	value *yaml.Node
	// exact is false when the field is not written and its nearest parent is
	// meant.
	exact bool
}

// at is the mistake at a field's place.
func at(root *yaml.Node, field contracts.FieldError) *Mistake {
	return &Mistake{Line: locate(root, field.Field).line, Field: field.Field, Reason: field.Reason}
}

// locate finds a field by its path. Keys may hold dots, so the longest key that
// fits is taken.
func locate(root *yaml.Node, path string) place {
	found := place{line: root.Line, value: root}
	rest := path
	for rest != "" {
		next, left, ok := step(found.value, strings.TrimPrefix(rest, "."))
		if !ok {
			return found
		}
		found.line, found.value, rest = next.line, next.value, left
	}
	found.exact = true
	return found
}

// step goes one key or one index down.
func step(node *yaml.Node, path string) (place, string, bool) {
	node = follow(node)
	switch node.Kind {
	case yaml.MappingNode:
		var c converter
		entries, mistake := c.entries("", node, 0)
		if mistake != nil {
			return place{}, "", false
		}
		best := -1
		for i, e := range entries {
			if after, ok := strings.CutPrefix(path, e.key); ok && (after == "" || after[0] == '.' || after[0] == '[') &&
				(best < 0 || len(e.key) > len(entries[best].key)) {
				best = i
			}
		}
		if best < 0 {
			return place{}, "", false
		}
		e := entries[best]
		return place{line: e.node.Line, value: e.value}, path[len(e.key):], true
	case yaml.SequenceNode:
		number, left, ok := strings.Cut(strings.TrimPrefix(path, "["), "]")
		index, err := strconv.Atoi(number)
		if !ok || err != nil || index < 0 || index >= len(node.Content) {
			return place{}, "", false
		}
		item := node.Content[index]
		return place{line: item.Line, value: item}, left, true
	default:
		return place{}, "", false
	}
}

// plainValues are the unquoted numbers and booleans at and below node.
func plainValues(node *yaml.Node) []*yaml.Node {
	var found []*yaml.Node
	walk(node, "", func(_ string, scalar *yaml.Node) bool {
		switch scalar.ShortTag() {
		case tagInt, tagFloat, tagBool:
			if scalar.Style == 0 {
				found = append(found, scalar)
			}
		}
		return true
	})
	return found
}

// walk visits the scalars at and below node, in the order in which they are
// written, until visit returns false. The tree has been converted before, so it
// is known to be bounded.
func walk(node *yaml.Node, field string, visit func(field string, scalar *yaml.Node) bool) bool {
	node = follow(node)
	switch node.Kind {
	case yaml.MappingNode:
		var c converter
		entries, mistake := c.entries("", node, 0)
		if mistake != nil {
			return true
		}
		for _, e := range entries {
			if !walk(e.value, below(field, e.key), visit) {
				return false
			}
		}
	case yaml.SequenceNode:
		for i, item := range node.Content {
			if !walk(item, fmt.Sprintf("%s[%d]", field, i), visit) {
				return false
			}
		}
	case yaml.ScalarNode:
		return visit(field, node)
	case yaml.DocumentNode, yaml.AliasNode: // followed already
	}
	return true
}
