package contracts

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// checkShape names the first place in data that does not fit the Go type t.
// encoding/json can refuse values and unknown fields but cannot say where they
// are, and it takes a key in any case and more than once; people need the place,
// and strict documents one meaning. data is syntactically valid.
func checkShape(data []byte, t reflect.Type, strict bool) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // a number that no float can hold is of the wrong form, not another error
	return shape{decoder: decoder, strict: strict}.value(t, true)
}

type shape struct {
	decoder *json.Decoder
	// strict also refuses what encoding/json lets pass.
	strict bool
}

// value reads one value and compares it with t. optional values may be null.
func (s shape) value(t reflect.Type, optional bool) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if readsItself(t) {
		return s.leaf(t, optional)
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return s.object(t, optional)
	case reflect.Slice:
		return s.list(t, optional)
	default:
		return s.leaf(t, optional)
	}
}

// readsItself reports whether t is read as a whole: its inside has no names.
func readsItself(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

func (s shape) object(t reflect.Type, optional bool) error {
	if open, err := s.open('{', t, optional); err != nil || !open {
		return err
	}
	var known map[string]reflect.Type
	if t.Kind() == reflect.Struct {
		known = jsonFields(t)
	}
	seen := map[string]bool{}
	for s.decoder.More() {
		token, err := s.decoder.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		place := Clip(key, maxKey)
		if s.strict && seen[key] {
			return invalid(place, "is written twice")
		}
		seen[key] = true
		var of reflect.Type
		if t.Kind() == reflect.Map {
			of = t.Elem()
		} else if of, err = s.field(known, key); err != nil {
			return err
		}
		if err := s.value(of, t.Kind() == reflect.Struct); err != nil {
			return in(place, err)
		}
	}
	_, err := s.decoder.Token()
	return err
}

// field returns the type of a struct's field, that of any JSON when unknown.
func (s shape) field(known map[string]reflect.Type, key string) (reflect.Type, error) {
	if of, ok := known[key]; ok {
		return of, nil
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !strings.EqualFold(name, key) {
			continue
		}
		if s.strict {
			return nil, invalid(Clip(key, maxKey), "is not a known field; write %s", name)
		}
		return known[name], nil
	}
	if s.strict {
		names := slices.Sorted(maps.Keys(known))
		return nil, invalid(Clip(key, maxKey), "is not a known field; known here: %s", strings.Join(names, ", "))
	}
	return reflect.TypeFor[json.RawMessage](), nil
}

func (s shape) list(t reflect.Type, optional bool) error {
	if open, err := s.open('[', t, optional); err != nil || !open {
		return err
	}
	for i := 0; s.decoder.More(); i++ {
		if err := s.value(t.Elem(), false); err != nil {
			return inItem("", i, err)
		}
	}
	_, err := s.decoder.Token()
	return err
}

// open reads the opening bracket; it returns false for a null.
func (s shape) open(want json.Delim, t reflect.Type, optional bool) (bool, error) {
	token, err := s.decoder.Token()
	if err != nil {
		return false, err
	}
	switch found := token.(type) {
	case nil:
		return false, s.null(t, optional)
	case json.Delim:
		if found == want {
			return true, nil
		}
		return false, mismatch(t, []byte(found.String()))
	case string:
		return false, mismatch(t, []byte(`"`))
	case bool:
		return false, mismatch(t, strconv.AppendBool(nil, found))
	default:
		return false, mismatch(t, []byte("0"))
	}
}

func (s shape) leaf(t reflect.Type, optional bool) error {
	var raw json.RawMessage
	if err := s.decoder.Decode(&raw); err != nil {
		return err
	}
	if isNull(raw) {
		return s.null(t, optional)
	}
	if json.Unmarshal(raw, reflect.New(t).Interface()) != nil {
		return mismatch(t, raw)
	}
	return nil
}

func (s shape) null(t reflect.Type, optional bool) error {
	if optional || !s.strict {
		return nil
	}
	return invalid("", "must be %s, is null", describeType(t))
}

func mismatch(t reflect.Type, raw []byte) error {
	is := "a JSON number"
	switch raw[0] {
	case '{':
		is = "a JSON object"
	case '[':
		is = "a JSON list"
	case '"':
		is = "a JSON string"
	case 't', 'f':
		is = "true or false"
	default:
		if kind := t.Kind(); kind >= reflect.Int && kind <= reflect.Uint64 {
			is = Clip(string(raw), maxKey)
		}
	}
	if is == "a JSON string" && readsItself(t) {
		is = "another text"
	}
	return invalid("", "must be %s, is %s", describeType(t), is)
}

func describeType(t reflect.Type) string {
	if t == reflect.TypeFor[time.Time]() {
		return `a time such as "2026-01-31T13:00:00Z"`
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a string in base64"
		}
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Uint32:
		return "a whole number from 0 to 4294967295"
	case reflect.Uint64:
		return "a whole number of at least 0"
	default:
		return "a whole number"
	}
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
