// Command boundary proves the direction of dependency: it compares every import, every
// go.mod and every linked package of the repository with the table in tools/boundary.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/nationtech/harmony-fleet/tools/boundary"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 when every edge is allowed, 1 when some are not, 2 when
// the tree could not be read.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("boundary", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", ".", "directory of go.work")
	links := flags.Bool("links", true, "also check what the binaries link, which needs their dependencies downloaded")
	depguard := flags.Bool("depguard", false, "only rewrite the depguard rules of .golangci.yml from the table")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	fail := func(err error) int {
		fmt.Fprintln(stderr, "boundary:", err)
		return 2
	}
	table := boundary.Table()
	if *depguard {
		if err := rewriteDepguard(filepath.Join(*root, ".golangci.yml"), table); err != nil {
			return fail(err)
		}
		return 0
	}

	workspace, err := boundary.Load(*root)
	if err != nil {
		return fail(err)
	}
	violations := boundary.Check(table, workspace)
	if *links {
		linked, err := boundary.CheckAllLinks(ctx, *root, table, workspace)
		if err != nil {
			return fail(err)
		}
		violations = append(violations, linked...)
	}
	for _, violation := range violations {
		fmt.Fprintln(stdout, violation)
	}
	files := 0
	for _, module := range workspace.Modules {
		files += len(module.Files)
	}
	fmt.Fprintf(stdout, "boundary: %d modules, %d files, %d violations\n",
		len(workspace.Modules), files, len(violations))
	if len(violations) > 0 {
		return 1
	}
	return 0
}

func rewriteDepguard(file string, table []boundary.Rule) error {
	config, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	updated, err := boundary.UpdateDepguard(config, table)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, updated, 0o644)
}
