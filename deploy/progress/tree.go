package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/nationtech/harmony-fleet/deploy"
)

// Escape sequences that every terminal knows.
const (
	lineUp     = "\x1b[%dA"
	eraseBelow = "\x1b[J"
)

// Tree draws all runs as a tree and draws it anew with each event. Of more than
// one run, those without trouble take one line each. Size returns the
// terminal's columns and rows.
func Tree(w io.Writer, size func() (columns, rows int)) deploy.Companion {
	t := &tree{w: w, size: size, runs: map[string]*run{}}
	return deploy.Companion{Name: "progress", Observe: t.observe}
}

type tree struct {
	w    io.Writer
	size func() (columns, rows int)

	mu    sync.Mutex
	order []string
	runs  map[string]*run
	// drawn is how many lines stand on the terminal.
	drawn int
}

type run struct {
	title string
	event deploy.Event
	order []string
	steps map[string]deploy.Event
}

func (t *tree) observe(event deploy.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := event.Score + "\x00" + event.Target
	r, ok := t.runs[key]
	if !ok {
		r = &run{title: event.Score, steps: map[string]deploy.Event{}}
		if event.Target != "" {
			r.title = event.Target
		}
		t.runs[key] = r
		t.order = append(t.order, key)
	}
	r.take(event)
	t.draw()
}

func (r *run) take(event deploy.Event) {
	if event.Step == "" {
		r.event = event
		for _, step := range event.Steps {
			r.order = append(r.order, step)
			r.steps[step] = deploy.Event{Step: step}
		}
		return
	}
	if _, ok := r.steps[event.Step]; !ok {
		r.order = append(r.order, event.Step)
	}
	if event.Message == "" { // a note stays until the next one
		event.Message = r.steps[event.Step].Message
	}
	r.steps[event.Step] = event
}

func (t *tree) draw() {
	columns, rows := t.size()
	lines := t.lines(rows - 1)
	var b strings.Builder
	if t.drawn > 0 {
		fmt.Fprintf(&b, lineUp, t.drawn)
	}
	b.WriteString("\r" + eraseBelow)
	for _, text := range lines {
		b.WriteString(cut(text, columns) + "\n")
	}
	t.drawn = len(lines)
	_, _ = io.WriteString(t.w, b.String())
}

// lines draws all runs in at most that many lines, any number when it is not
// positive. When there are too many, each run gets one line, those that ended
// well share one, and of the rest those in trouble come first.
func (t *tree) lines(most int) []string {
	var lines []string
	for _, key := range t.order {
		lines = append(lines, t.runs[key].lines(len(t.order) > 1)...)
	}
	if most <= 0 || len(lines) <= most {
		return lines
	}
	if len(t.order) == 1 {
		hidden := len(lines) - most + 1
		return append([]string{fmt.Sprintf("… %d lines above", hidden)}, lines[hidden:]...)
	}
	var trouble, working []string
	done := 0
	for _, key := range t.order {
		switch r := t.runs[key]; {
		case r.event.State == deploy.StateFailed || r.event.State == deploy.StateCancelled:
			trouble = append(trouble, r.short())
		case r.event.State.Ended():
			done++
		default:
			working = append(working, r.short())
		}
	}
	lines = nil
	if done > 0 {
		lines = append(lines, fmt.Sprintf("%s %d done", mark(deploy.StateFinished), done))
	}
	lines = append(append(lines, trouble...), working...)
	if len(lines) > most {
		hidden := len(lines) - most + 1
		lines = append(lines[:most-1:most-1], fmt.Sprintf("… %d more", hidden))
	}
	return lines
}

func (r *run) lines(short bool) []string {
	if short && r.event.State != deploy.StateFailed {
		return []string{r.short()}
	}
	lines := []string{mark(r.event.State) + " " + note(r.title, r.event.Message)}
	for i, id := range r.order {
		branch := "├─"
		if i == len(r.order)-1 {
			branch = "└─"
		}
		step := r.steps[id]
		lines = append(lines, fmt.Sprintf("  %s %s %s", branch, mark(step.State), note(id, step.Message)))
	}
	return lines
}

// short is the run in one line: how far it is and what it does now.
func (r *run) short() string {
	for _, id := range r.order {
		if step := r.steps[id]; step.State == deploy.StateFailed {
			return mark(step.State) + " " + note(r.title+" "+id, step.Message)
		}
	}
	if r.event.State.Ended() {
		return mark(r.event.State) + " " + note(r.title, r.event.Message)
	}
	ended, now := 0, deploy.Event{}
	for _, id := range r.order {
		if step := r.steps[id]; step.State.Ended() {
			ended++
		} else if step.State != "" {
			now = step
		}
	}
	return fmt.Sprintf("%s %s %d/%d %s", mark(deploy.StateWorking), r.title, ended, len(r.order), note(now.Step, now.Message))
}

func note(title, message string) string {
	message, _, _ = strings.Cut(message, "\n")
	if message == "" {
		return title
	}
	return title + ": " + message
}

func mark(state deploy.State) string {
	switch state {
	case deploy.StateUnchanged:
		return "="
	case deploy.StateChanged, deploy.StatePassed, deploy.StateFinished:
		return "✓"
	case deploy.StateFailed:
		return "✗"
	case deploy.StateCancelled:
		return "-"
	case deploy.StateRetrying:
		return "↻"
	case deploy.StateStarted, deploy.StateLooking, deploy.StateWorking:
		return "…"
	default:
		return "·"
	}
}

// cut keeps a line in one line of the terminal.
func cut(text string, columns int) string {
	if columns <= 1 || utf8.RuneCountInString(text) < columns {
		return text
	}
	return string([]rune(text)[:columns-2]) + "…"
}
