package domain

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	// firstLook is when a device that runs a command is first asked whether it
	// is still there, and lookEvery how often from then on.
	firstLook = time.Second
	lookEvery = 5 * time.Second
	// offlineLooks is how often in a row nobody must be there: a broker may be
	// mistaken once, while its parts find each other again.
	offlineLooks = 2
	// uptimeTolerance is how much the clocks of a device and of whoever asks may
	// go apart while a command runs.
	uptimeTolerance = time.Second
)

// callExec sends a command and waits for its end, or until the agent that was
// told is gone: nobody answers any more, then.
func callExec(ctx context.Context, bus CommandBus, device contracts.DeviceID, request contracts.ExecRequest) (contracts.ExecResult, error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	var lost error
	var looking sync.WaitGroup
	looking.Go(func() {
		if lost = awaitLoss(ctx, bus, device); lost != nil {
			end()
		}
	})
	result, err := Call[contracts.ExecResult](ctx, bus, device, contracts.VerbExec, request)
	end()
	looking.Wait()
	if err != nil && lost != nil {
		return contracts.ExecResult{}, lost
	}
	return result, err
}

// awaitLoss returns why no answer will come to what was sent just now, or nil
// when ctx ends.
func awaitLoss(ctx context.Context, bus CommandBus, device contracts.DeviceID) error {
	sent, offline := time.Now(), 0
	timer := time.NewTimer(firstLook)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		timer.Reset(lookEvery)
		elapsed := time.Since(sent)
		agent, err := look(ctx, bus, device)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && agent.Uptime.Std()+uptimeTolerance < elapsed:
			return Errorf(ErrUnavailable, "the agent of device %q was started again while the command ran: how the command ended is not known", device)
		case !errors.Is(err, ErrOffline): // a link that is slow proves nothing
			offline = 0
			continue
		}
		if offline++; offline == offlineLooks {
			return WrapError(ErrOffline, err, "device %q lost its agent or its connection while the command ran: how the command ended is not known", device)
		}
	}
}

func look(ctx context.Context, bus CommandBus, device contracts.DeviceID) (contracts.PingResult, error) {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	return Call[contracts.PingResult](ctx, bus, device, contracts.VerbPing, contracts.Empty{})
}
