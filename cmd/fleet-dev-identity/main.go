// Command fleet-dev-identity is an identity provider for development: it emulates
// the part of Zitadel that a fleet uses, on this machine alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `fleet-dev-identity is an identity provider for development on this machine.
It behaves like Zitadel as far as a fleet uses it, keeps its secrets in the clear,
and is no place for a fleet that matters. "fleet dev --auth" starts it.

Usage:
  fleet-dev-identity --dir DIRECTORY [flags]

Examples:
  fleet-dev-identity --dir ~/.local/state/fleet-identity
  fleet-dev-identity --dir /tmp/id --listen 127.0.0.1:0 -o json
  fleet-dev-identity --dir /tmp/id --token-lifetime 1m

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns 0 after ctx ended, 1 when it failed and 2 when it was called wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "fleet-dev-identity:", err)
		return 2
	}
	if err := serve(ctx, o, stdout); err != nil {
		fmt.Fprintln(stderr, "fleet-dev-identity:", err)
		return 1
	}
	return 0
}
