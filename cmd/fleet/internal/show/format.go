package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Format is how a command prints.
type Format string

// The formats of -o; the empty one is a table.
const (
	FormatTable Format = ""
	FormatWide  Format = "wide"
	FormatJSON  Format = "json"
	FormatYAML  Format = "yaml"
	FormatName  Format = "name"
)

// List is several things in -o json and -o yaml.
type List[T any] struct {
	Items []T `json:"items"`
}

// NewList returns a list that is never null.
func NewList[T any](items []T) List[T] {
	if items == nil {
		items = []T{}
	}
	return List[T]{Items: items}
}

// Write writes value as JSON or YAML with the same fields in the same order.
func Write(out io.Writer, format Format, value any) error {
	data, err := encodeJSON(value, "  ")
	if err != nil {
		return err
	}
	if format == FormatYAML {
		if data, err = toYAML(data); err != nil {
			return err
		}
	}
	_, err = out.Write(data)
	return err
}

// WriteOne writes value as one of a stream: a line of JSON, or a YAML document.
func WriteOne(out io.Writer, format Format, value any) error {
	if format == FormatYAML {
		if _, err := io.WriteString(out, "---\n"); err != nil {
			return err
		}
		return Write(out, format, value)
	}
	data, err := encodeJSON(value, "")
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	return err
}

func encodeJSON(value any, indent string) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("encode as JSON: %w", err)
	}
	return out.Bytes(), nil
}
