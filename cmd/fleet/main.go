// Command fleet says what runs on which devices, and shows whether it does.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/broker"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/commands"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/dev"
)

// version is set by the build.
var version = "v0.0.0-dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program, over a real broker.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return runWith(ctx, cli.NewApp(broker.Connect, os.LookupEnv), args, stdin, stdout, stderr)
}

// runWith is run with another way to reach the fleet.
func runWith(ctx context.Context, app *cli.App, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := commands.New(app, version)                       //nolint:contextcheck // cobra hands the context to the commands
	root.AddCommand(dev.NewCommand(app.Contexts, cli.Usage)) //nolint:contextcheck // cobra hands the context to the command
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return cli.Execute(ctx, root, args, stderr)
}
