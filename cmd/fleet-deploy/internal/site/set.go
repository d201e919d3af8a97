package site

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// set puts values into a document: each is path=value, where the path is of keys
// and indexes, such as agents.hosts[0].device, and the value is YAML. An index
// that is one past the end adds an element.
func set(data []byte, values []string) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, err
	}
	if len(document.Content) == 0 {
		document = yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}
	}
	for _, text := range values {
		if err := setOne(document.Content[0], text); err != nil {
			return nil, fmt.Errorf("--set %s: %w", text, err)
		}
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	if err := encoder.Encode(&document); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

func setOne(root *yaml.Node, text string) error {
	path, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("write it as path=value, such as nats.devices=1000")
	}
	steps, err := parsePath(path)
	if err != nil {
		return err
	}
	if _, err := typeAt(steps); err != nil {
		return err
	}
	node := root
	for i, step := range steps {
		if node, err = step.in(node); err != nil {
			return fmt.Errorf("%s: %w", pathText(steps[:i]), err)
		}
	}
	parsed := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"}
	if value != "" {
		var document yaml.Node
		if err := yaml.Unmarshal([]byte(value), &document); err != nil {
			return fmt.Errorf("the value is no YAML: %w", err)
		}
		if len(document.Content) == 0 {
			return fmt.Errorf("the value is nothing but a comment: quote it")
		}
		parsed = document.Content[0]
	}
	*node = *parsed
	return nil
}

// step is a key, or an index when key is empty.
type step struct {
	key   string
	index int
}

func (s step) String() string {
	if s.key == "" {
		return "[" + strconv.Itoa(s.index) + "]"
	}
	return s.key
}

func pathText(steps []step) string {
	text := ""
	for _, s := range steps {
		if s.key != "" && text != "" {
			text += "."
		}
		text += s.String()
	}
	return text
}

// parsePath reads keys with dots between them, and indexes in brackets. A
// backslash takes the meaning from what follows it.
func parsePath(path string) ([]step, error) {
	var steps []step
	key, after := strings.Builder{}, false
	end := func() error {
		if key.Len() == 0 && !after {
			return fmt.Errorf("a key is missing in the path %q", path)
		}
		if key.Len() > 0 {
			steps = append(steps, step{key: key.String()})
		}
		key.Reset()
		return nil
	}
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path):
			i++
			key.WriteByte(path[i])
		case c == '.':
			if err := end(); err != nil {
				return nil, err
			}
			after = false
		case c == '[':
			if err := end(); err != nil {
				return nil, err
			}
			digits, _, ok := strings.Cut(path[i+1:], "]")
			index, err := strconv.ParseUint(digits, 10, 16)
			if !ok || err != nil {
				return nil, fmt.Errorf("write an index as [0] in the path %q", path)
			}
			steps = append(steps, step{index: int(index)})
			i += len(digits) + 1
			after = true
		default:
			if after {
				return nil, fmt.Errorf("a dot is missing after an index in the path %q", path)
			}
			key.WriteByte(c)
		}
	}
	return steps, end()
}

// in returns the node of a step, which is made when it is not there.
func (s step) in(node *yaml.Node) (*yaml.Node, error) {
	kind, what := yaml.MappingNode, "keys"
	if s.key == "" {
		kind, what = yaml.SequenceNode, "a list"
	}
	if node.Kind == 0 || node.Kind == yaml.ScalarNode && (node.Tag == "!!null" || node.Value == "") {
		*node = yaml.Node{Kind: kind}
	}
	if node.Kind != kind {
		return nil, fmt.Errorf("the file has not %s there", what)
	}
	added := &yaml.Node{}
	if s.key == "" {
		if s.index < len(node.Content) {
			return node.Content[s.index], nil
		}
		if s.index > len(node.Content) {
			return nil, fmt.Errorf("it has %d elements: the next is [%d]", len(node.Content), len(node.Content))
		}
		node.Content = append(node.Content, added)
		return added, nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == s.key {
			return node.Content[i+1], nil
		}
	}
	node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s.key}, added)
	return added, nil
}

// typeAt returns the type of what is at a path of a Site.
func typeAt(steps []step) (reflect.Type, error) {
	at := reflect.TypeFor[Site]()
	for i, s := range steps {
		here := pathText(steps[:i])
		if here == "" {
			here = "a site"
		}
		switch {
		case at.Kind() == reflect.Slice && s.key == "":
			at = at.Elem()
		case at.Kind() == reflect.Slice:
			return nil, fmt.Errorf("%s is a list: write %s[0]", here, here)
		case s.key == "":
			return nil, fmt.Errorf("%s is no list", here)
		case at.Kind() == reflect.Map:
			at = at.Elem()
		case at.Kind() == reflect.Struct:
			fields := fieldsOf(at)
			found := slices.IndexFunc(fields, func(f field) bool { return f.key == s.key })
			if found < 0 {
				keys := make([]string, len(fields))
				for i := range fields {
					keys[i] = fields[i].key
				}
				return nil, fmt.Errorf("%s has no %q; it has %s", here, s.key, strings.Join(keys, ", "))
			}
			at = fields[found].kind
		default:
			return nil, fmt.Errorf("%s has nothing below it", here)
		}
		if at.Kind() == reflect.Pointer {
			at = at.Elem()
		}
	}
	return at, nil
}

// field is a key of the file.
type field struct {
	key  string
	kind reflect.Type
}

func fieldsOf(structure reflect.Type) []field {
	var fields []field
	for at := range structure.Fields() {
		if key, _, _ := strings.Cut(at.Tag.Get("yaml"), ","); key != "" && key != "-" {
			fields = append(fields, field{key: key, kind: at.Type})
		}
	}
	return fields
}

// Complete returns how what was begun as path=value can go on, sorted: with "=",
// or with what lies below.
func Complete(begun string) []string {
	if strings.Contains(begun, "=") {
		return nil
	}
	parent, last := "", begun
	if at := strings.LastIndexByte(begun, '.'); at >= 0 {
		parent, last = begun[:at+1], begun[at+1:]
	}
	var steps []step
	if parent != "" {
		var err error
		if steps, err = parsePath(strings.TrimSuffix(parent, ".")); err != nil {
			return nil
		}
	}
	at, err := typeAt(steps)
	if err != nil || at.Kind() != reflect.Struct {
		return nil
	}
	var found []string
	for _, f := range fieldsOf(at) {
		if !strings.HasPrefix(f.key, last) {
			continue
		}
		kind := f.kind
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		switch {
		case kind.Kind() == reflect.Struct, kind.Kind() == reflect.Map:
			found = append(found, parent+f.key+".")
		case kind.Kind() == reflect.Slice && kind.Elem().Kind() == reflect.Struct:
			found = append(found, parent+f.key+"[0].")
		default:
			found = append(found, parent+f.key+"=")
		}
	}
	slices.Sort(found)
	return found
}
