// Command demo shows a fleet at work: a broker, an operator and ten agents on
// this machine. Each step is observed through the broker and in the process
// table, and the first one that is not seen to work ends it with exit code 1.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// limit bounds the whole demo.
const limit = 90 * time.Second

func main() {
	bin := flag.String("bin", "./bin", "directory of fleet, fleet-operator and fleet-agent")
	examples := flag.String("examples", "./examples", "directory of the example manifests")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, absolute(*bin), absolute(*examples))
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo failed:", err)
		os.Exit(1)
	}
}

func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}
