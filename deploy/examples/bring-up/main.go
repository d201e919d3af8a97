// Command bring-up makes one host a device of a fleet, from Go: the same that
// fleet-deploy does for the hosts of a file. Change it to what your site needs.
//
//	bring-up ADDRESS DEVICE PACKAGE BROKER SIGNING-KEY NKEY-FILE
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/agent"
	"github.com/nationtech/harmony-fleet/deploy/host"
	"github.com/nationtech/harmony-fleet/deploy/progress"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := bringUp(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func bringUp(ctx context.Context, args []string) error {
	if len(args) != 6 {
		return fmt.Errorf("six arguments are needed, see the comment in main.go")
	}
	pkg, err := host.ReadPackage(args[2])
	if err != nil {
		return err
	}
	nkey, err := os.ReadFile(args[5])
	if err != nil {
		return err
	}
	score := &agent.FleetAgentScore{
		Device:   contracts.DeviceID(args[1]),
		Packages: []host.Package{pkg},
		Config:   agent.Config{Servers: []string{args[3]}, SigningKeys: []string{args[4]}, NKey: nkey},
	}
	machine, err := host.New(host.Config{Address: args[0], AgentSocket: os.Getenv("SSH_AUTH_SOCK")})
	if err != nil {
		return err
	}
	defer func() { _ = machine.Close() }()
	outcome, err := deploy.For(score).Apply(ctx, machine, deploy.Options{
		Companions: []deploy.Companion{progress.Lines(os.Stderr), host.Journal(machine, "fleet-agent")},
	})
	fmt.Println(outcome.Summary())
	return err
}
