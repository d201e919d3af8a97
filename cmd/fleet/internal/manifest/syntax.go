package manifest

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// syntaxMistake puts the parser's complaint into the form of all others. The
// parser has no typed errors: its text is the only place of the line, so it is
// taken apart here, for show alone.
func syntaxMistake(data []byte, err error) *Mistake {
	mistake := &Mistake{Line: 1, Reason: err.Error()}
	parts := regexp.MustCompile(`^yaml: (?:line (\d+): )?(.+)$`).FindStringSubmatch(err.Error())
	if parts == nil {
		return mistake
	}
	if line, err := strconv.Atoi(parts[1]); err == nil {
		mistake.Line = line
	}
	mistake.Reason = "YAML: " + parts[2]
	switch {
	case strings.HasPrefix(parts[2], "did not find expected"):
		mistake.Line++ // complaints of this kind count lines from 0
		if parts[1] == "" {
			mistake.Line = 1
		}
		mistake.Reason += ": check the indentation, brackets and quotes from here on"
	case strings.HasPrefix(parts[2], "mapping values are not allowed"):
		mistake.Reason += `: check the indentation, or quote a text that holds ": "`
	case strings.HasPrefix(parts[2], "found unexpected end of stream"):
		mistake.Reason += ": a quote that is opened here is not closed"
	case strings.HasPrefix(parts[2], "unknown anchor"):
		if _, name, ok := strings.Cut(parts[2], "'"); ok {
			name, _, _ = strings.Cut(name, "'")
			mistake.Line = lineOf(data, "*"+name)
		}
	}
	if bytes.HasPrefix(bytes.TrimLeft(lineAt(data, mistake.Line), " "), []byte("\t")) {
		mistake.Reason = "YAML: indented with a tab: use spaces"
	}
	mistake.Line = min(mistake.Line, bytes.Count(data, []byte("\n"))+1)
	return mistake
}

// lineOf returns the first line that holds text, 1 when none does.
func lineOf(data []byte, text string) int {
	before, _, found := bytes.Cut(data, []byte(text))
	if !found {
		return 1
	}
	return 1 + bytes.Count(before, []byte("\n"))
}

func lineAt(data []byte, number int) []byte {
	for line := range bytes.Lines(data) {
		if number--; number == 0 {
			return line
		}
	}
	return nil
}
