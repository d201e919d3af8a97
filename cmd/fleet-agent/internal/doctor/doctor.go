// Package doctor finds out why an agent does not do its work and says what to
// do next. It changes nothing on the device.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/identity"
)

// Level is how a check ended.
type Level string

// The closed list of levels.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// Check is one thing that was looked at.
type Check struct {
	Level Level `json:"level"`
	// Name is what was looked at.
	Name  string `json:"check"`
	Found string `json:"found"`
	// Next is what to do; empty when all is well.
	Next string `json:"next,omitempty"`
}

func ok(name, format string, args ...any) Check {
	return Check{Level: OK, Name: name, Found: fmt.Sprintf(format, args...)}
}

func warn(name, found, next string) Check {
	return Check{Level: Warn, Name: name, Found: found, Next: next}
}

func fail(name, found, next string) Check {
	return Check{Level: Fail, Name: name, Found: found, Next: next}
}

// Options of an examination. The zero value works.
type Options struct {
	// Now is the device's clock; default time.Now.
	Now func() time.Time
	// Built is when the program was built; zero when it is not known.
	Built time.Time
	// Space returns the bytes that the agent may still write and the size of the
	// file system of a directory; default: what the kernel says.
	Space func(dir string) (free, total uint64, err error)
	// Timeout bounds each question to the network; default 5s.
	Timeout time.Duration
	// DesiredDir is the directory of the agent.DirStore in the state directory.
	DesiredDir string
}

// Examine looks at everything and returns what it found, in the order to read
// it. path is the configuration file. It blocks for three times the Timeout at
// most and needs neither daemon nor network.
func Examine(ctx context.Context, path string, options Options) []Check {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Space == nil {
		options.Space = space
	}
	options.Timeout = cmp.Or(options.Timeout, 5*time.Second)
	checks := []Check{checkClock(options.Now(), options.Built)}
	c, err := config.Load(path)
	if errors.Is(err, identity.ErrNone) {
		return append(checks, fail("identity", "this device has none yet",
			"get a token with `fleet enroll create` and run `fleet-agent enroll`, or name the device in "+path))
	}
	if err != nil {
		return append(checks, fail("configuration", err.Error(), "correct it; `fleet-agent check` tells when it is right"))
	}
	checks = append(checks, checkConfigMode(path, c), checkCredential(c, options.Now()))
	checks = append(checks, checkStateDir(c.StateDir), checkSpace(c.StateDir, options.Space))
	checks = append(checks, checkDesired(c, filepath.Join(c.StateDir, options.DesiredDir)))
	checks = append(checks, checkServers(ctx, c.Broker, options.Timeout)...)
	return append(checks, checkDaemon(ctx, c.StateDir)...)
}

// Failed reports whether something must be repaired.
func Failed(checks []Check) bool {
	return slices.ContainsFunc(checks, func(c Check) bool { return c.Level == Fail })
}

// WriteText prints one line for each check, and below it what to do next.
func WriteText(w io.Writer, checks []Check) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, check := range checks {
		if _, err := fmt.Fprintf(table, "%s\t%s\t%s\n", check.Level, check.Name, check.Found); err != nil {
			return err
		}
		if check.Next != "" {
			if _, err := fmt.Fprintf(table, "\t\t→ %s\n", check.Next); err != nil {
				return err
			}
		}
	}
	return table.Flush()
}

// released is before the first release: no clock may show an earlier time.
const released = 1767225600 // 2026-01-01 UTC

// farFuture is how long after its build an agent is hardly used any more.
const farFuture = 20 * 365 * 24 * time.Hour

func checkClock(now, built time.Time) Check {
	const name, next = "clock", "set the clock (`timedatectl`); certificates do not verify with a wrong one"
	since := time.Unix(released, 0).UTC()
	if built.After(since) {
		since = built.UTC()
	}
	shown := now.UTC().Format(time.RFC3339)
	if now.Before(since) {
		return fail(name, fmt.Sprintf("%s is before this program was built (%s)", shown, since.Format(time.RFC3339)), next)
	}
	if now.Sub(since) > farFuture {
		return warn(name, fmt.Sprintf("%s is more than 20 years after this program was built", shown), next)
	}
	return ok(name, "%s is plausible", shown)
}

// mode is a file's permission bits.
func mode(info os.FileInfo) os.FileMode { return info.Mode().Perm() }

// together runs the functions at the same time and returns their checks in order.
func together(functions []func() []Check) []Check {
	found := make([][]Check, len(functions))
	var group sync.WaitGroup
	for i, function := range functions {
		group.Go(func() { found[i] = function() })
	}
	group.Wait()
	return slices.Concat(found...)
}
