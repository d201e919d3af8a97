package metrics

import (
	"fmt"
	"strconv"
	"strings"
)

// exposition is a page in Prometheus' text format, version 0.0.4.
type exposition struct{ strings.Builder }

// family begins a metric; its samples follow.
func (e *exposition) family(name, kind, help string) {
	fmt.Fprintf(e, "# HELP %s %s\n# TYPE %s %s\n", name, escape(help, false), name, kind)
}

// sample writes one value. Labels are names and values in turn.
func (e *exposition) sample(name string, value float64, labels ...string) {
	e.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		e.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		e.WriteString(labels[i] + `="` + escape(labels[i+1], true) + `"`)
	}
	if len(labels) > 1 {
		e.WriteByte('}')
	}
	e.WriteString(" " + number(value) + "\n")
}

// escape makes one line of a text, which must be valid UTF-8.
func escape(text string, quoted bool) string {
	text = strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(strings.ToValidUTF8(text, "\uFFFD"))
	if quoted {
		text = strings.ReplaceAll(text, `"`, `\"`)
	}
	return text
}

func number(value float64) string { return strconv.FormatFloat(value, 'g', -1, 64) }

func truth(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}
