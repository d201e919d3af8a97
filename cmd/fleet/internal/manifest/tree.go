package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	tagNull  = "!!null"
	tagBool  = "!!bool"
	tagInt   = "!!int"
	tagFloat = "!!float"
	tagText  = "!!str"
	tagMerge = "!!merge"
	tagTime  = "!!timestamp"

	// maxDepth and maxValues bound what anchors expand to.
	maxDepth  = 64
	maxValues = 100_000
)

// converter writes a YAML tree as JSON. It reads YAML 1.2 and refuses what an
// older reader would take for something else: the same manifest goes to kubectl.
type converter struct {
	out    bytes.Buffer
	values int
	// quoted are scalars to take as if they were in quotes.
	quoted map[*yaml.Node]bool
	// open are the anchors that are being expanded.
	open map[*yaml.Node]bool
}

// toJSON returns the JSON of a tree.
func toJSON(root *yaml.Node, quoted map[*yaml.Node]bool) ([]byte, *Mistake) {
	c := converter{quoted: quoted, open: map[*yaml.Node]bool{}}
	if mistake := c.value("", root, 0); mistake != nil {
		return nil, mistake
	}
	return c.out.Bytes(), nil
}

func (c *converter) value(field string, node *yaml.Node, depth int) *Mistake {
	if mistake := c.bounds(field, node, depth); mistake != nil {
		return mistake
	}
	switch node.Kind {
	case yaml.AliasNode:
		if c.open[node.Alias] {
			return &Mistake{Line: node.Line, Field: field, Reason: fmt.Sprintf("the anchor &%s holds itself", node.Value)}
		}
		c.open[node.Alias] = true
		defer delete(c.open, node.Alias)
		return c.value(field, node.Alias, depth+1)
	case yaml.MappingNode:
		return c.mapping(field, node, depth)
	case yaml.SequenceNode:
		c.out.WriteByte('[')
		for i, item := range node.Content {
			if i > 0 {
				c.out.WriteByte(',')
			}
			if mistake := c.value(fmt.Sprintf("%s[%d]", field, i), item, depth+1); mistake != nil {
				return mistake
			}
		}
		c.out.WriteByte(']')
		return nil
	default:
		return c.scalar(field, node)
	}
}

// bounds keeps a few lines of anchors from becoming gigabytes.
func (c *converter) bounds(field string, node *yaml.Node, depth int) *Mistake {
	c.values++
	switch {
	case depth > maxDepth:
		return &Mistake{Line: node.Line, Field: field, Reason: fmt.Sprintf("is nested more than %d deep", maxDepth)}
	case c.values > maxValues:
		return &Mistake{Line: node.Line, Reason: fmt.Sprintf("the document has more than %d values once its anchors are expanded", maxValues)}
	case c.out.Len() > contracts.MaxDocumentBytes:
		return &Mistake{Line: node.Line, Reason: fmt.Sprintf("the document has more than %d bytes", contracts.MaxDocumentBytes)}
	}
	return nil
}

func (c *converter) mapping(field string, node *yaml.Node, depth int) *Mistake {
	entries, mistake := c.entries(field, node, depth)
	if mistake != nil {
		return mistake
	}
	c.out.WriteByte('{')
	for i, entry := range entries {
		if i > 0 {
			c.out.WriteByte(',')
		}
		c.text(entry.key)
		c.out.WriteByte(':')
		if mistake := c.value(below(field, entry.key), entry.value, depth+1); mistake != nil {
			return mistake
		}
	}
	c.out.WriteByte('}')
	return nil
}

func (c *converter) scalar(field string, node *yaml.Node) *Mistake {
	wrong := func(reason string) *Mistake { return &Mistake{Line: node.Line, Field: field, Reason: reason} }
	if c.quoted[node] {
		c.text(node.Value)
		return nil
	}
	switch tag := node.ShortTag(); tag {
	case tagText, tagMerge:
		if reason := surprise(node); reason != "" {
			return wrong(reason)
		}
		c.text(node.Value)
	case tagNull:
		c.out.WriteString("null")
	case tagBool:
		switch strings.ToLower(node.Value) {
		case "true", "false":
			c.out.WriteString(strings.ToLower(node.Value))
		default:
			return wrong("must be true or false")
		}
	case tagInt, tagFloat:
		if !json.Valid([]byte(node.Value)) {
			return wrong("is a number in a form that YAML readers read differently: quote it if it is a text, or write it in plain decimal")
		}
		c.out.WriteString(node.Value)
	case tagTime:
		return wrong("is a date to some YAML readers and a text to others: quote it")
	default:
		return wrong(fmt.Sprintf("has the tag %s, which is not supported here: remove it", contracts.Clip(tag, 64)))
	}
	return nil
}

func (c *converter) text(text string) {
	data, _ := json.Marshal(text) // a string always has a JSON form
	c.out.Write(data)
}

// surprise returns why an unquoted text may be read as something else.
func surprise(node *yaml.Node) string {
	if node.Style != 0 {
		return ""
	}
	switch strings.ToLower(node.Value) {
	case "y", "yes", "n", "no", "on", "off":
		return fmt.Sprintf(`%s means true or false to some YAML readers: quote it, "%s"`, node.Value, node.Value)
	}
	if isSexagesimal(node.Value) {
		return "digits with colons are one number to some YAML readers: quote it"
	}
	return ""
}

// isSexagesimal recognises the numbers to base 60 of YAML 1.1, such as 22:22.
func isSexagesimal(text string) bool {
	first, rest, found := strings.Cut(strings.TrimLeft(text, "+-"), ":")
	if !found || first == "" || first[0] == '0' || strings.Trim(first, "0123456789_") != "" {
		return false
	}
	for part := range strings.SplitSeq(rest, ":") {
		if part == "" || len(part) > 2 || strings.Trim(part, "0123456789") != "" || len(part) == 2 && part[0] > '5' {
			return false
		}
	}
	return true
}

// entry is a key of a mapping, merged ones included.
type entry struct {
	key   string
	node  *yaml.Node
	value *yaml.Node
}

// entries returns the keys of a mapping in the order in which they are written,
// then those that "<<" merges in and that are not written.
func (c *converter) entries(field string, node *yaml.Node, depth int) ([]entry, *Mistake) {
	var list []entry
	var merged []*yaml.Node
	lines := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := follow(node.Content[i]), node.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.ShortTag() == tagMerge {
			merged = append(merged, value)
			continue
		}
		if mistake := checkKey(field, key); mistake != nil {
			return nil, mistake
		}
		if first, ok := lines[key.Value]; ok {
			return nil, &Mistake{Line: key.Line, Field: below(field, key.Value), Reason: fmt.Sprintf("is written twice, first on line %d", first)}
		}
		lines[key.Value] = key.Line
		list = append(list, entry{key: key.Value, node: key, value: value})
	}
	for _, source := range merged {
		more, mistake := c.merge(field, source, depth)
		if mistake != nil {
			return nil, mistake
		}
		for _, e := range more {
			if _, ok := lines[e.key]; !ok {
				lines[e.key] = e.node.Line
				list = append(list, e)
			}
		}
	}
	return list, nil
}

// merge returns the entries that one "<<" brings in.
func (c *converter) merge(field string, source *yaml.Node, depth int) ([]entry, *Mistake) {
	source = follow(source)
	if mistake := c.bounds(field, source, depth); mistake != nil {
		return nil, mistake
	}
	switch source.Kind {
	case yaml.MappingNode:
		return c.entries(field, source, depth+1)
	case yaml.SequenceNode:
		var list []entry
		for _, item := range source.Content {
			more, mistake := c.merge(field, item, depth+1)
			if mistake != nil {
				return nil, mistake
			}
			list = append(list, more...)
		}
		return list, nil
	default:
		return nil, &Mistake{Line: source.Line, Field: below(field, "<<"), Reason: "must be an alias of a mapping, such as *defaults"}
	}
}

func checkKey(field string, key *yaml.Node) *Mistake {
	if key.Kind != yaml.ScalarNode {
		return &Mistake{Line: key.Line, Field: field, Reason: "a text that begins with {, [ or {{ must be in quotes"}
	}
	reason := surprise(key)
	if reason == "" && key.ShortTag() != tagText {
		reason = "is a key that is not a text: quote it"
	}
	if reason == "" {
		return nil
	}
	return &Mistake{Line: key.Line, Field: below(field, contracts.Clip(key.Value, 128)), Reason: reason}
}

// follow returns what an alias stands for.
func follow(node *yaml.Node) *yaml.Node {
	for depth := 0; node.Kind == yaml.AliasNode && depth < maxDepth; depth++ {
		node = node.Alias
	}
	return node
}

// below is the path of a key.
func below(field, key string) string {
	if field == "" {
		return key
	}
	return field + "." + key
}
