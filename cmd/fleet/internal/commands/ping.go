package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// skewShown is the difference of clocks from which on ping tells it.
const skewShown = 2 * time.Second

func newPingCommand(app *cli.App) *cobra.Command {
	p := pinger{}
	command := &cobra.Command{
		Use:   "ping DEVICE…",
		Short: "Ask devices whether they are there",
		Long: `ping sends a request through the broker to each device and prints the time until
the agent's answer came, its version, and how long it has been running. It tells
when the device's clock is off. Exit code 1 when an answer is missing.`,
		Example: `  fleet ping paris-01
  fleet ping paris-01 lyon-01 -c 5`,
		Args:              cli.AtLeastOne("device"),
		ValidArgsFunction: completeNames(app, kindDevice),
		RunE: func(command *cobra.Command, args []string) error {
			devices, err := parseDevices(args)
			if err != nil {
				return err
			}
			switch {
			case p.count < 1:
				return cli.Usagef("--count must be at least 1")
			case p.interval < 0 || p.timeout <= 0:
				return cli.Usagef("--interval must not be negative, and --timeout not zero")
			}
			p.out = command.OutOrStdout()
			return app.Follow(command, func(ctx context.Context, session cli.Session) error {
				p.bus = cli.WithTimeout(session.Commands, p.timeout)
				return p.run(ctx, devices)
			})
		},
	}
	command.Flags().IntVarP(&p.count, "count", "c", 1, "number of requests to each device")
	command.Flags().DurationVarP(&p.interval, "interval", "i", time.Second, "pause between two rounds")
	command.Flags().DurationVar(&p.timeout, "timeout", 5*time.Second, "longest time to wait for one answer")
	return command
}

type pinger struct {
	count             int
	interval, timeout time.Duration
	bus               domain.CommandBus
	out               io.Writer
}

func (p pinger) run(ctx context.Context, devices []contracts.DeviceID) error {
	answers := 0
	for round := range p.count {
		if round > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(p.interval):
			}
		}
		for _, device := range devices {
			answered, err := p.ping(ctx, device)
			if err != nil {
				return err
			}
			if answered {
				answers++
			}
		}
	}
	sent := p.count * len(devices)
	if p.count > 1 {
		if _, err := fmt.Fprintf(p.out, "%d sent, %d answered\n", sent, answers); err != nil {
			return err
		}
	}
	if answers < sent {
		return fmt.Errorf("%d of %s unanswered: see `fleet get devices` for when each was last seen", sent-answers, show.Plural(sent, "ping"))
	}
	return nil
}

func (p pinger) ping(ctx context.Context, device contracts.DeviceID) (bool, error) {
	begun := time.Now()
	result, err := domain.Call[contracts.PingResult](ctx, p.bus, device, contracts.VerbPing, contracts.Empty{})
	took := time.Since(begun)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if _, answered := errors.AsType[*domain.DeviceError](err); !answered && errors.Is(err, domain.ErrPermissionDenied) {
		return false, err // nothing was sent, nor will be
	}
	if err != nil {
		_, err = fmt.Fprintf(p.out, "%s: no answer: %s\n", device, show.Clean(err.Error()))
		return false, err
	}
	clock := ""
	if skew := result.Time.Sub(begun.Add(took / 2)); skew.Abs() >= skewShown {
		clock = fmt.Sprintf(" clock-off-by=%s", skew.Round(time.Second))
	}
	_, err = fmt.Fprintf(p.out, "%s: time=%.1f ms agent=%s up=%s%s\n", device,
		float64(took.Microseconds())/1000, orDash(result.AgentVersion), show.Age(result.Uptime.Std()), clock)
	return true, err
}
