// Command bench measures what the design promises and prints it, with the
// bound where there is one. Throughput is a ratio to a baseline of the same
// run. It exits with 1 when a bound is missed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	fleetSize = 100_000
	limit     = 15 * time.Minute
)

func main() {
	bin := flag.String("bin", "./bin", "directory of fleet, fleet-operator and fleet-agent")
	root := flag.String("root", ".", "directory of the checkout, to build for other architectures")
	changes := flag.Int("changes", 100, "number of changes to follow to the running container")
	devices := flag.Int("devices", fleetSize, "number of devices to publish for")
	only := flag.String("only", "sizes,idle,containers,change,publishing,storm,kubernetes,sizing", "what to measure, separated by commas")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	b := bench{bin: absolute(*bin), root: absolute(*root), devices: *devices, changes: *changes, only: strings.Split(*only, ",")}
	err := b.run(ctx)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench failed:", err)
		os.Exit(1)
	}
	if b.missed {
		os.Exit(1)
	}
}

func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

// bench is one run of all measurements.
type bench struct {
	bin, root string
	devices   int
	changes   int
	only      []string
	missed    bool
}

func (b *bench) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "fleet-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	measures := map[string]func(context.Context, string) error{
		"sizes": b.sizes, "idle": b.idle, "containers": b.idleContainers, "change": b.change, "publishing": b.publishing, "storm": b.storm,
		"kubernetes": b.kubernetes, "sizing": b.sizing,
	}
	for _, name := range b.only {
		measure, ok := measures[name]
		if !ok {
			return fmt.Errorf("-only: %q is unknown, use sizes, idle, containers, change, publishing, storm, kubernetes or sizing", name)
		}
		if err := measure(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

// figure prints one measurement without a bound.
func (b *bench) figure(name, format string, args ...any) {
	fmt.Printf("%-58s %s\n", name, fmt.Sprintf(format, args...))
}

// most prints a measurement that shall not exceed a bound, in the same unit.
func (b *bench) most(name, unit string, value, bound float64) {
	b.judge(name, value <= bound, "%.2f %s (at most %g)", value, unit, bound)
}

// least prints a measurement that shall reach a bound.
func (b *bench) least(name, unit string, value, bound float64) {
	b.judge(name, value >= bound, "%.2f %s (at least %g)", value, unit, bound)
}

func (b *bench) judge(name string, ok bool, format string, args ...any) {
	verdict := "ok"
	if !ok {
		verdict, b.missed = "MISSED", true
	}
	b.figure(name, "%s  %s", fmt.Sprintf(format, args...), verdict)
}
