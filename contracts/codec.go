package contracts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

const (
	// MaxDocumentBytes bounds every document on the wire. Larger input is
	// refused before it is parsed. The broker's own limit (1 MiB) stays above it.
	MaxDocumentBytes = 512 << 10
	// MaxEnvelopeBytes is what Signed and CommandReply may add to the document
	// that they carry.
	MaxEnvelopeBytes = 1 << 10
)

// Document is a wire document that can check itself.
type Document interface {
	// Validate returns nil, or an error that names the field and the reason.
	Validate() error
}

// DecodeError says that bytes are not a valid document of the named type.
// Its cause, a *FieldError, is reachable.
type DecodeError struct {
	Type  string
	Cause error
}

// Error is "decode type: field: reason"; see FieldError for what it may quote.
func (e *DecodeError) Error() string { return "decode " + e.Type + ": " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Cause }

// Decode parses and validates one JSON document. Unknown fields are ignored, a
// null counts as a field left out, and as ever in encoding/json the last of two
// equal keys is taken and a key matches in any case: documents between programs
// are signed or belong to one writer, so there is nobody to be deceived. Anything
// after the document is an error. All errors are *DecodeError.
func Decode[D Document](data []byte) (D, error) {
	return decode[D](data, false)
}

// DecodeStrict is Decode for what people write: an unknown or misspelt field, a
// field written twice, and a null in a list or a map are errors that name the
// place.
func DecodeStrict[D Document](data []byte) (D, error) {
	return decode[D](data, true)
}

func decode[D Document](data []byte, strict bool) (D, error) {
	var doc, zero D
	name := reflect.TypeFor[D]().Name()
	if err := checkSize(doc, len(data)); err != nil {
		return zero, &DecodeError{Type: name, Cause: err}
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
// order, map keys sorted, absent lists as [], so equal documents have equal
// bytes. The *FieldError of a document that is not valid is reachable.
func Encode[D Document](doc D) ([]byte, error) {
	name := reflect.TypeFor[D]().Name()
	if err := doc.Validate(); err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	data, err := marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	if err := checkSize(doc, len(data)); err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	return data, nil
}

func checkSize(doc any, size int) error {
	most := MaxDocumentBytes
	switch doc.(type) {
	case Signed, CommandReply:
		most += MaxEnvelopeBytes
	}
	if size > most {
		return invalid("", "document has %d bytes, at most %d are allowed", size, most)
	}
	return nil
}

// marshal does not escape <, > and &: the bytes of a nested raw document stay
// what they are, and commands stay readable.
func marshal(doc any) ([]byte, error) {
	switch d := doc.(type) {
	case Signed:
		return d.marshal()
	case interface{ canonical() Document }:
		doc = d.canonical()
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(doc); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func unmarshal(data []byte, into any, strict bool) error {
	if isNull(bytes.TrimSpace(data)) {
		return invalid("", "must not be empty or null")
	}
	shape := reflect.TypeOf(into).Elem()
	if err := json.Unmarshal(data, into); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return invalid("", "is not valid JSON at byte %d: %v", syntax.Offset, syntax)
		}
		// encoding/json neither names the place in a list nor keeps the input
		// out of its text, so the mistake is looked up again.
		if found := checkShape(data, shape, strict); found != nil {
			return found
		}
		return invalid("", "does not have the form of this document")
	}
	if strict {
		return checkShape(data, shape, true)
	}
	return nil
}

// nonNil returns list, or an empty list instead of nil.
func nonNil[E any](list []E) []E {
	if list == nil {
		return []E{}
	}
	return list
}

// isNull reports whether a raw value is absent.
func isNull(raw []byte) bool { return len(raw) == 0 || string(raw) == "null" }
