package show

import (
	"io"
	"strings"
	"unicode/utf8"
)

// columnGap is the space between columns.
const columnGap = 3

// Table writes rows in columns. Rows may come in several batches: widths only
// grow, so that a table that is followed stays aligned.
type Table struct {
	out    io.Writer
	header []string
	widths []int
	begun  bool
	indent string
}

// NewTable returns a table with a header.
func NewTable(out io.Writer, header ...string) *Table {
	t := &Table{out: out, header: header, widths: make([]int, len(header))}
	t.fit(header)
	return t
}

// Indent moves the table to the right.
func (t *Table) Indent(by int) *Table {
	t.indent = strings.Repeat(" ", by)
	return t
}

// Write writes rows, the first time after the header. Cells are cleaned.
func (t *Table) Write(rows ...[]string) error {
	cleaned := make([][]string, len(rows))
	for i, row := range rows {
		cleaned[i] = make([]string, len(row))
		for j, cell := range row {
			cleaned[i][j] = Clean(cell)
		}
		t.fit(cleaned[i])
	}
	var text strings.Builder
	if !t.begun {
		t.begun = true
		t.line(&text, t.header)
	}
	for _, row := range cleaned {
		t.line(&text, row)
	}
	_, err := io.WriteString(t.out, text.String())
	return err
}

func (t *Table) fit(row []string) {
	for i, cell := range row {
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
	}
}

func (t *Table) line(out *strings.Builder, row []string) {
	var line strings.Builder
	line.WriteString(t.indent)
	for i, cell := range row {
		line.WriteString(cell)
		if i < len(row)-1 {
			line.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)+columnGap))
		}
	}
	out.WriteString(strings.TrimRight(line.String(), " "))
	out.WriteByte('\n')
}
