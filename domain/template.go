package domain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Template is a score's data, ready to be expanded for many devices.
//
// The texts of a score may hold {{ .device.id }}, {{ .device.labels.KEY }} and
// {{ "{{" }} for two braces. Device IDs and label values need no escaping in
// JSON, and in JSON two opening braces stand side by side only inside a text,
// so expansion is a splice of bytes.
type Template struct {
	parts []templatePart
	size  int
}

// templatePart is literal text, or the key of a value to put in its place.
type templatePart struct {
	literal []byte
	label   string
	id      bool
}

const (
	templateOpen   = "{{"
	templateClose  = "}}"
	templateID     = ".device.id"
	templateLabel  = ".device.labels."
	templateBraces = `\"{{\"`
)

// ParseTemplate reads the data of a score. The error says which template is
// not understood.
func ParseTemplate(data json.RawMessage) (*Template, error) {
	t := &Template{size: len(data)}
	rest := []byte(data)
	for {
		before, after, found := bytes.Cut(rest, []byte(templateOpen))
		if !found {
			t.addLiteral(rest)
			return t, nil
		}
		t.addLiteral(before)
		if tail, ok := cutBraces(after); ok {
			t.addLiteral([]byte(templateOpen))
			rest = tail
			continue
		}
		expression, tail, closed := bytes.Cut(after, []byte(templateClose))
		if !closed || bytes.IndexByte(expression, '"') >= 0 {
			return nil, &contracts.FieldError{Reason: "a template that begins with {{ does not end with }} in the same text"}
		}
		part, err := parseExpression(strings.TrimSpace(string(expression)))
		if err != nil {
			return nil, err
		}
		t.parts = append(t.parts, part)
		rest = tail
	}
}

func (t *Template) addLiteral(text []byte) {
	if len(text) > 0 {
		t.parts = append(t.parts, templatePart{literal: text})
	}
}

// cutBraces recognises {{ "{{" }}, the opening braces already cut off.
func cutBraces(after []byte) ([]byte, bool) {
	tail, ok := bytes.CutPrefix(bytes.TrimLeft(after, " "), []byte(templateBraces))
	if !ok {
		return nil, false
	}
	return bytes.CutPrefix(bytes.TrimLeft(tail, " "), []byte(templateClose))
}

func parseExpression(expression string) (templatePart, error) {
	if expression == templateID {
		return templatePart{id: true}, nil
	}
	key, ok := strings.CutPrefix(expression, templateLabel)
	if !ok {
		return templatePart{}, &contracts.FieldError{Reason: fmt.Sprintf(
			`template {{ %s }} is not understood: use {{ .device.id }} or {{ .device.labels.KEY }}, and {{ "{{" }} for two braces`, expression)}
	}
	if err := (contracts.Labels{key: ""}).Validate(); err != nil {
		return templatePart{}, &contracts.FieldError{Reason: fmt.Sprintf("template {{ %s }}: %v", expression, err)}
	}
	return templatePart{label: key}, nil
}

// Static reports whether the data is the same for every device.
func (t *Template) Static() bool {
	for _, part := range t.parts {
		if part.literal == nil {
			return false
		}
	}
	return true
}

// Expand returns the data for one device. A label that the device does not
// have is an error of kind ErrInvalid that names it.
func (t *Template) Expand(id contracts.DeviceID, labels contracts.Labels) (json.RawMessage, error) {
	out := make([]byte, 0, t.size)
	for _, part := range t.parts {
		switch {
		case part.literal != nil:
			out = append(out, part.literal...)
		case part.id:
			out = append(out, id...)
		default:
			value, ok := labels[part.label]
			if !ok {
				return nil, Errorf(ErrInvalid, "template {{ .device.labels.%s }}: device %q has no label %q", part.label, id, part.label)
			}
			out = append(out, value...)
		}
	}
	return out, nil
}

// checkTemplates returns why the templates of a score cannot be understood.
func checkTemplates(data json.RawMessage) error {
	_, err := ParseTemplate(data)
	return err
}
