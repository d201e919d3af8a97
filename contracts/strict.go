package contracts

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// checkUnknownFields names the first field of data, in path order, that the Go
// type t does not have. encoding/json can refuse unknown fields but cannot say
// where they are; people need the place. data is already known to fit t.
func checkUnknownFields(data []byte, t reflect.Type) error {
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return asFieldError(err)
	}
	return unknownField(tree, t)
}

func unknownField(value any, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil // reads its own form
	}
	switch node := value.(type) {
	case map[string]any:
		return unknownInObject(node, t)
	case []any:
		if t.Kind() != reflect.Slice {
			return nil
		}
		for i, item := range node {
			if err := unknownField(item, t.Elem()); err != nil {
				return in(fmt.Sprintf("[%d]", i), err)
			}
		}
	}
	return nil
}

func unknownInObject(node map[string]any, t reflect.Type) error {
	for _, key := range slices.Sorted(maps.Keys(node)) {
		var of reflect.Type
		switch t.Kind() {
		case reflect.Map:
			of = t.Elem()
		case reflect.Struct:
			known := jsonFields(t)
			field, ok := known[key]
			if !ok {
				names := slices.Sorted(maps.Keys(known))
				return invalid(key, "is not a known field; known here: %s", strings.Join(names, ", "))
			}
			of = field
		default:
			return nil
		}
		if err := unknownField(node[key], of); err != nil {
			return in(key, err)
		}
	}
	return nil
}

func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type, t.NumField())
	for field := range t.Fields() {
		if field.Anonymous {
			maps.Copy(fields, jsonFields(field.Type))
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields[name] = field.Type
	}
	return fields
}
