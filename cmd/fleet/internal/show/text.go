package show

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Clean makes a text that came from a device safe for a terminal: one line, and
// nothing that a terminal would obey.
func Clean(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return unicode.ReplacementChar
		default:
			return r
		}
	}, text)
	return strings.TrimSpace(text)
}

// Age is a duration as people read it: 42s, 5m10s, 3h20m, 12d.
func Age(d time.Duration) string {
	d = max(d, 0)
	const day = 24 * time.Hour
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 10*time.Minute:
		return pair(int(d.Minutes()), "m", int(d.Seconds())%60, "s")
	case d < 3*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 8*time.Hour:
		return pair(int(d.Hours()), "h", int(d.Minutes())%60, "m")
	case d < 2*day:
		return fmt.Sprintf("%dh", int(d.Hours()))
	case d < 8*day:
		return pair(int(d/day), "d", int(d.Hours())%24, "h")
	default:
		return fmt.Sprintf("%dd", int(d/day))
	}
}

func pair(large int, largeUnit string, small int, smallUnit string) string {
	if small == 0 {
		return fmt.Sprintf("%d%s", large, largeUnit)
	}
	return fmt.Sprintf("%d%s%d%s", large, largeUnit, small, smallUnit)
}

// Ago is the age of a time, "never" for none.
func Ago(now time.Time, t *time.Time) string {
	if t == nil {
		return "never"
	}
	return Age(now.Sub(*t))
}

// Because joins a reason and a message: "CrashLoop: exit code 3".
func Because(reason, message string) string {
	if reason == "" || message == "" {
		return Clean(reason + message)
	}
	return Clean(reason + ": " + message)
}

// Plural is "1 device" or "3 devices".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
