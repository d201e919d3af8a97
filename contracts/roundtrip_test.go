package contracts_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"time"
)

// sameValue compares two documents by what they mean: nil and empty lists and
// maps are the same, so are one instant in two zones and one raw document with
// and without spaces.
func sameValue(a, b any) bool { return same(reflect.ValueOf(a), reflect.ValueOf(b)) }

func same(a, b reflect.Value) bool {
	if a.Type() != b.Type() {
		return false
	}
	switch x := a.Interface().(type) {
	case time.Time:
		y, _ := reflect.TypeAssert[time.Time](b)
		return x.Equal(y)
	case json.RawMessage:
		y, _ := reflect.TypeAssert[json.RawMessage](b)
		var left, right bytes.Buffer
		if json.Compact(&left, x) != nil || json.Compact(&right, y) != nil {
			return bytes.Equal(x, y)
		}
		return bytes.Equal(left.Bytes(), right.Bytes())
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem())
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() != b.Len() {
			return false
		}
		for key, value := range a.Seq2() {
			if other := b.MapIndex(key); !other.IsValid() || !same(value, other) {
				return false
			}
		}
		return true
	case reflect.Struct:
		for field, value := range a.Fields() {
			if !field.IsExported() {
				return reflect.DeepEqual(a.Interface(), b.Interface())
			}
			if !same(value, b.FieldByIndex(field.Index)) {
				return false
			}
		}
		return true
	default:
		return a.Equal(b)
	}
}
