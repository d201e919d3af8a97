// Package metrics writes counters in the text format of Prometheus.
package metrics

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// ContentType is that of the text format.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Writer collects one page.
type Writer struct{ text bytes.Buffer }

// Counter begins a counter; its values follow.
func (w *Writer) Counter(name, help string) { w.begin(name, help, "counter") }

// Histogram begins a histogram; its values follow.
func (w *Writer) Histogram(name, help string) { w.begin(name, help, "histogram") }

func (w *Writer) begin(name, help, kind string) {
	fmt.Fprintf(&w.text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// Value writes one value. labels are pairs of name and value.
func (w *Writer) Value(name string, value float64, labels ...string) {
	w.text.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		between := ","
		if i == 0 {
			between = "{"
		}
		fmt.Fprintf(&w.text, "%s%s=%q", between, labels[i], labels[i+1])
	}
	if len(labels) > 1 {
		w.text.WriteByte('}')
	}
	fmt.Fprintf(&w.text, " %s\n", strconv.FormatFloat(value, 'g', -1, 64))
}

// WriteTo implements io.WriterTo.
func (w *Writer) WriteTo(out io.Writer) (int64, error) { return w.text.WriteTo(out) }

// Handler serves what collect writes.
func Handler(collect func(*Writer)) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
		var page Writer
		collect(&page)
		response.Header().Set("Content-Type", ContentType)
		_, _ = page.WriteTo(response) // who asked is gone when this fails
	})
}
