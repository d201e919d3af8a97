// Command testrun runs the tests of every module of go.work, each without go.work, and
// counts what really ran.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"time"
)

const usage = `usage: testrun [flags] [pattern...]

Runs "go test -json" in each module of go.work with GOWORK=off. Patterns are package
directories relative to the root, with or without a trailing /...; none means everything.

Prints a line per package, the full output of failed tests only, the skipped tests with
their reasons, and as the last line "N passed, N failed, N skipped". Every test, subtest,
example and fuzz target that ends counts once, parents included. What keeps tests from
running (a build error, a crash, a timeout) counts as a failure. Exit code: 0 when
nothing failed, 1 when something did, 2 on wrong usage.

flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv("CI"), os.Stdout, os.Stderr))
}

// programTests is the module whose tests build and run the programs of others. The
// go command does not see those change, so that it would answer from its cache.
const programTests = "tests"

// run returns the exit code. ci is the value of the environment variable CI.
func run(ctx context.Context, args []string, ci string, stdout, stderr io.Writer) int {
	// Anything but a true CI, "false" and nonsense alike, means that a person is at work.
	inCI, _ := strconv.ParseBool(ci)
	flags := flag.NewFlagSet("testrun", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	root := flags.String("root", ".", "directory of go.work")
	race := flags.Bool("race", false, "run with the race detector (needs a C compiler)")
	timeout := flags.Duration("timeout", 10*time.Minute, "time allowed to one package")
	name := flags.String("run", "", "run only the tests that match this regular expression")
	count := flags.Int("count", 0, "run each test this often, never from the cache; 0 lets the cache answer, but for the module tests")
	forbidSkips := flags.Bool("forbid-skips", inCI, "count a skipped test as failed; the default when CI=true")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}

	modules, err := workModules(*root)
	if err != nil {
		fmt.Fprintln(stderr, "testrun:", err)
		return 2
	}
	selected, err := selectPackages(modules, flags.Args())
	if err != nil {
		fmt.Fprintln(stderr, "testrun:", err)
		return 2
	}
	goTest := []string{"test", "-json", "-timeout=" + timeout.String()}
	if *race {
		goTest = append(goTest, "-race")
	}
	if *name != "" {
		goTest = append(goTest, "-run="+*name)
	}
	if *count > 0 {
		goTest = append(goTest, fmt.Sprintf("-count=%d", *count))
	}

	results := newSummary(stdout, *forbidSkips)
	for _, module := range selected {
		if ctx.Err() != nil {
			results.failed("interrupted before " + module.dir)
			break
		}
		args := goTest
		if module.dir == programTests && *count == 0 {
			args = append(slices.Clip(goTest), "-count=1")
		}
		testModule(ctx, *root, module, args, results)
	}
	if results.finish() {
		return 0
	}
	return 1
}
