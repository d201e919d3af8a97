// Package progressbar shows how far a long command is, to people at a terminal.
package progressbar

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

const (
	width = 30
	// redraw is the shortest time between two drawings.
	redraw = 100 * time.Millisecond
)

// Bar is a line that fills. It is used by one goroutine.
type Bar struct {
	out   io.Writer
	total int
	began time.Time
	drawn time.Time
}

// New returns a bar. When out is not a terminal it draws nothing.
func New(out io.Writer, total int) *Bar {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		out = nil
	}
	return &Bar{out: out, total: total, began: time.Now()}
}

// Set draws that so many are done.
func (b *Bar) Set(done int) {
	now := time.Now()
	if b.out == nil || done < b.total && now.Sub(b.drawn) < redraw {
		return
	}
	b.drawn = now
	_, _ = io.WriteString(b.out, "\r"+Line(done, b.total, now.Sub(b.began)))
}

// End leaves the bar where it is and goes on below.
func (b *Bar) End() {
	if b.out != nil {
		_, _ = io.WriteString(b.out, "\n")
	}
}

// Line is what the bar looks like after some time.
func Line(done, total int, since time.Duration) string {
	total = max(total, 1)
	filled := width * done / total
	left := ""
	if done > 0 && done < total {
		left = fmt.Sprintf(", %s left", (since * time.Duration(total-done) / time.Duration(done)).Round(time.Second))
	}
	return fmt.Sprintf("[%s%s] %d/%d%-14s", strings.Repeat("#", filled), strings.Repeat(".", width-filled), done, total, left)
}
