package contracts

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// FieldError says which field of a document is wrong and why. Field is a
// dotted path such as "spec.score.data.services[0].image", "" for the whole.
// The reason may quote names, references and keywords, never the value of an
// environment variable, an argument, a key or a token.
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

// maxReason and maxKey bound what an error repeats of a hostile document.
const (
	maxReason = 512
	maxKey    = 128
)

func invalid(field, format string, args ...any) error {
	return &FieldError{Field: field, Reason: Clip(fmt.Sprintf(format, args...), maxReason)}
}

// in prefixes the field path of a *FieldError with the place it was found in.
func in(place string, err error) error {
	if err == nil {
		return nil
	}
	if field, ok := errors.AsType[*FieldError](err); ok {
		path := place
		switch {
		case field.Field == "":
		case place == "", field.Field[0] == '[':
			path += field.Field
		default:
			path += "." + field.Field
		}
		return &FieldError{Field: path, Reason: field.Reason}
	}
	return &FieldError{Field: place, Reason: err.Error()}
}

// inItem is in for an element of a list.
func inItem(list string, index int, err error) error {
	return in(fmt.Sprintf("%s[%d]", list, index), err)
}

// Clip returns text as valid UTF-8 of at most most bytes (3 or more), its end
// replaced by "…" when it is too long. What a device found (a program's output, a
// serial number) goes through it before it goes into a document.
func Clip(text string, most int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	end := most - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// checkText returns an error for field unless text is UTF-8 of at most most
// bytes. JSON replaces other bytes by a longer mark, so that a text within the
// bound for its writer could be beyond it for its reader.
func checkText(field, text string, most int) error {
	if len(text) > most {
		return invalid(field, "must be at most %d bytes, has %d", most, len(text))
	}
	if !utf8.ValidString(text) {
		return invalid(field, "must be valid UTF-8")
	}
	return nil
}
