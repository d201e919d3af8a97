package contracts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// MaxDocumentBytes bounds every document on the wire. Larger input is refused
// before it is parsed. The broker's own limit (1 MiB) stays above it.
const MaxDocumentBytes = 512 << 10

// Document is a wire document that can check itself.
type Document interface {
	// Validate returns nil, or an error that names the field and the reason.
	Validate() error
}

// FieldError says which field of a document is wrong and why. Field is a
// dotted path such as "spec.score.data.services[0].image", "" for the whole.
type FieldError struct {
	Field  string
	Reason string
}

// Error is "field: reason".
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}

// DecodeError says that bytes are not a valid document of the named type.
// Its cause (a *FieldError, or an error of encoding/json) is reachable.
type DecodeError struct {
	Type  string
	Cause error
}

// Error never quotes the input: it may hold secrets.
func (e *DecodeError) Error() string { return "decode " + e.Type + ": " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Cause }

// Decode parses and validates one JSON document. Unknown fields are ignored;
// anything after the document is an error. All errors are *DecodeError.
func Decode[D Document](data []byte) (D, error) {
	return decode[D](data, false)
}

// DecodeStrict is Decode for what people write: an unknown field is an error
// that names it.
func DecodeStrict[D Document](data []byte) (D, error) {
	return decode[D](data, true)
}

func decode[D Document](data []byte, strict bool) (D, error) {
	var doc, zero D
	name := reflect.TypeFor[D]().Name()
	if len(data) > MaxDocumentBytes {
		return zero, &DecodeError{Type: name, Cause: tooLarge(len(data))}
	}
	if err := unmarshal(data, &doc, strict); err != nil {
		return zero, &DecodeError{Type: name, Cause: err}
	}
	if err := doc.Validate(); err != nil {
		return zero, &DecodeError{Type: name, Cause: err}
	}
	return doc, nil
}

// Encode validates doc and returns its JSON: compact, fields in declared
// order, map keys sorted, so equal documents have equal bytes.
func Encode[D Document](doc D) ([]byte, error) {
	name := reflect.TypeFor[D]().Name()
	if err := doc.Validate(); err != nil {
		return nil, &DecodeError{Type: name, Cause: err}
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, &DecodeError{Type: name, Cause: err}
	}
	if len(data) > MaxDocumentBytes {
		return nil, &DecodeError{Type: name, Cause: tooLarge(len(data))}
	}
	return data, nil
}

func tooLarge(size int) error {
	return &FieldError{Reason: fmt.Sprintf("document has %d bytes, at most %d are allowed", size, MaxDocumentBytes)}
}

func unmarshal(data []byte, into any, strict bool) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(into); err != nil {
		return asFieldError(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return &FieldError{Reason: "holds something after the JSON document"}
	}
	if strict {
		return checkUnknownFields(data, reflect.TypeOf(into).Elem())
	}
	return nil
}

// asFieldError words the errors of encoding/json without the input's text.
func asFieldError(err error) error {
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return invalid(mismatch.Field, "must be %s, is a JSON %s", describeKind(mismatch.Type), mismatch.Value)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &FieldError{Reason: "ends before the JSON document is complete"}
	}
	return err
}

func describeKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number of at least 0"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	default:
		return "a number"
	}
}

// in prefixes the field path of a *FieldError with the place it was found in.
func in(place string, err error) error {
	if err == nil {
		return nil
	}
	if field, ok := errors.AsType[*FieldError](err); ok {
		path := place
		if field.Field != "" {
			if field.Field[0] == '[' {
				path += field.Field
			} else {
				path += "." + field.Field
			}
		}
		return &FieldError{Field: path, Reason: field.Reason}
	}
	return &FieldError{Field: place, Reason: err.Error()}
}

// inItem is in for an element of a list.
func inItem(list string, index int, err error) error {
	return in(fmt.Sprintf("%s[%d]", list, index), err)
}

func invalid(field, format string, args ...any) error {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}
