package metrics

import (
	"context"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	kindInfo      = "info"
	kindReport    = "report"
	kindHeartbeat = "heartbeat"
)

// Reporter returns a reporter that counts what the given one sends.
func (c *Counts) Reporter(reporter domain.ObservedStateReporter) domain.ObservedStateReporter {
	return countedReporter{reporter: reporter, counts: c}
}

type countedReporter struct {
	reporter domain.ObservedStateReporter
	counts   *Counts
}

// Info implements domain.ObservedStateReporter.
func (r countedReporter) Info(ctx context.Context, info contracts.DeviceInfo) error {
	err := r.reporter.Info(ctx, info)
	r.counts.message(kindInfo, err)
	return err
}

// Report implements domain.ObservedStateReporter.
func (r countedReporter) Report(ctx context.Context, report contracts.DeviceReport) error {
	err := r.reporter.Report(ctx, report)
	r.counts.message(kindReport, err)
	return err
}

// Heartbeat implements domain.ObservedStateReporter.
func (r countedReporter) Heartbeat(ctx context.Context, heartbeat contracts.Heartbeat) error {
	err := r.reporter.Heartbeat(ctx, heartbeat)
	r.counts.message(kindHeartbeat, err)
	return err
}
