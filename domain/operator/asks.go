package operator

import (
	"context"
	"log/slog"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// lag is about a device whose heartbeats name a report that did not arrive, or
// of which no report or info is known.
type lag struct {
	// askAt is when to ask it to report again.
	askAt time.Time
	// pause before the next time.
	pause time.Duration
	// asking: a worker is at it.
	asking bool
}

const (
	// reportGrace is the time in which a report may still be on its way.
	reportGrace = 5 * time.Second
	// mostReportPause bounds the pause between two requests to one device.
	mostReportPause = 30 * time.Minute
	// reportTimeout bounds the wait for one device's answer.
	reportTimeout = 10 * time.Second
	// maxAsksPerSecond keeps a fleet that lost its reports from sending all of
	// them at once.
	maxAsksPerSecond = 200
	// maxAsking is how many devices are asked at a time.
	maxAsking = 32
)

// checkLag notes whether the device's reports are behind its heartbeats.
func (e *engine) checkLag(d *device) {
	behind := d.hasHeartbeat && (!d.hasInfo || !d.hasReport || d.announced != d.sequence)
	if behind == d.lagging {
		return
	}
	d.lagging = behind
	if behind {
		e.lagging[d] = &lag{askAt: e.now.Add(reportGrace), pause: e.options.ReportRequestInterval}
	} else {
		delete(e.lagging, d)
	}
}

// ask asks devices that lag to report again, no more than fit into the time
// since the last call.
func (e *engine) ask(ctx context.Context, elapsed time.Duration) {
	left := int(min(elapsed, 5*time.Second).Seconds()*maxAsksPerSecond) + 1
	for d, l := range e.lagging {
		if left == 0 {
			return
		}
		if !d.eligible() {
			d.lagging = false
			delete(e.lagging, d)
			continue
		}
		if l.asking || l.askAt.After(e.now) || d.liveness != livenessOnline {
			continue
		}
		left--
		l.asking = true
		id := d.id
		e.asks.start(ctx, e, func(ctx context.Context) func(context.Context) {
			err := askForReport(ctx, e.operator.capabilities.Commands, id)
			return func(context.Context) {
				if err != nil {
					e.log.Debug("a device was asked in vain to report again",
						slog.String("device", string(id)), slog.Any("error", err))
				}
				l.asking = false
				l.askAt = e.now.Add(l.pause)
				l.pause = min(2*l.pause, mostReportPause)
			}
		})
	}
}

func askForReport(ctx context.Context, bus domain.CommandBus, id contracts.DeviceID) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	_, err := domain.Call[contracts.Empty](ctx, bus, id, contracts.VerbReport, contracts.Empty{})
	return err
}
