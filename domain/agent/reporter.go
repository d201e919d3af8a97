package agent

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// settleTime is how long the first report waits for the runtimes, so that an
	// agent that starts again does not report its workloads as starting.
	settleTime = time.Second
	// reportInterval is the least time between two reports.
	reportInterval = 250 * time.Millisecond
	// resendDelay is when a report that could not be sent over an existing
	// connection is sent again.
	resendDelay = 5 * time.Second
	// saveInterval is the least time between two reports on disk: a service that
	// crashes all day must not wear out the disk.
	saveInterval = 10 * time.Second
	// infoInterval is how often the device's info is compared with the one sent.
	infoInterval = 5 * time.Minute
	// sequenceGap is how many sequences may be used beyond the one on disk.
	sequenceGap = 1000
)

// reporting is what the agent knows about its reports.
type reporting struct {
	// current is the report composed last.
	current contracts.DeviceReport
	// sequence is the last one used, sent that of the last report sent, and
	// reserved the first one that may not be used before more are saved.
	sequence, sent, reserved uint64
	sentAt, triedAt          time.Time
	wantReport, wantInfo     bool
	// dirty is set when current is not on disk.
	dirty      bool
	savedAt    time.Time
	saveFailed bool
	// lastInfo is the info sent last.
	lastInfo contracts.DeviceInfo
}

// restoreReport goes on with the sequence and the phases of the last life. What
// may have been used without being saved is left out.
func (a *Agent) restoreReport(ctx context.Context) {
	report, err := a.store.LoadReport()
	if err != nil {
		a.log.ErrorContext(ctx, "last report on disk cannot be read", "error", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current = report
	a.sent = report.Sequence
	a.reserved = report.Sequence + sequenceGap
	a.sequence = a.reserved - 1
}

// runReports sends and saves reports as they change, until ctx is cancelled.
func (a *Agent) runReports(ctx context.Context) {
	a.awaitSettled(ctx)
	info := time.NewTicker(infoInterval)
	defer info.Stop()
	for {
		again := a.report(ctx)
		select {
		case <-ctx.Done():
			a.save(ctx)
			return
		case <-a.reportBell:
		case <-again:
		case <-info.C:
			a.compareInfo()
		}
	}
}

func (a *Agent) awaitSettled(ctx context.Context) {
	over := time.NewTimer(settleTime)
	defer over.Stop()
	for !a.allSettled() {
		select {
		case <-ctx.Done():
			return
		case <-over.C:
			return
		case <-a.reportBell:
		}
	}
}

func (a *Agent) allSettled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.tasks {
		if !a.settled(t) {
			return false
		}
	}
	return true
}

// report composes a report and sends and saves it if need be. It returns when to
// do so again without being asked, nil for never.
func (a *Agent) report(ctx context.Context) <-chan time.Time {
	a.mu.Lock()
	if next := fitting(a.compose(time.Now())); !sameReport(next, a.current) {
		a.current = next
		a.wantReport, a.dirty = true, true
	}
	connected := a.linkState.Connected
	info, report := connected && a.wantInfo, connected && a.wantReport
	if wait := time.Until(a.triedAt.Add(reportInterval)); report && wait > 0 {
		a.mu.Unlock()
		return time.After(wait)
	}
	a.mu.Unlock()

	again := time.Duration(0)
	if info && !a.sendInfo(ctx) || report && !a.sendReport(ctx) {
		again = resendDelay
	}
	if wait := a.saveIfDue(ctx); wait > 0 && (again == 0 || wait < again) {
		again = wait
	}
	if again == 0 {
		return nil
	}
	return time.After(again)
}

// sendInfo reports whether the info need not be sent again.
func (a *Agent) sendInfo(ctx context.Context) bool {
	info := a.info()
	a.mu.Lock()
	a.wantInfo = false
	a.mu.Unlock()
	err := a.reporter.Info(ctx, info)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.lastInfo = info
		return true
	}
	return a.notSent(ctx, err, "info", &a.wantInfo)
}

// sendReport reports whether the current report need not be sent again.
func (a *Agent) sendReport(ctx context.Context) bool {
	a.mu.Lock()
	a.wantReport = false
	a.sequence++
	reserve := a.sequence >= a.reserved
	report := a.current
	report.Sequence = a.sequence
	a.mu.Unlock()
	if reserve {
		a.save(ctx)
	}
	err := a.reporter.Report(ctx, report)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.triedAt = time.Now()
	if err == nil {
		a.sent, a.sentAt = report.Sequence, a.triedAt
		a.dirty = true
		return true
	}
	return a.notSent(ctx, err, "report", &a.wantReport)
}

// notSent decides under the lock what to do about an error: without a connection
// the next one will ask again, and what is refused is not repeated.
func (a *Agent) notSent(ctx context.Context, err error, what string, want *bool) bool {
	if ctx.Err() != nil {
		return true
	}
	if errors.Is(err, domain.ErrInvalid) {
		a.log.ErrorContext(ctx, "report is refused by the transport", "kind", what, "error", err)
		return true
	}
	a.log.DebugContext(ctx, "report not sent", "kind", what, "error", err)
	*want = true
	return !a.linkState.Connected
}

// saveIfDue saves the current report, or returns how long that must wait.
func (a *Agent) saveIfDue(ctx context.Context) time.Duration {
	a.mu.Lock()
	dirty := a.dirty
	wait := time.Until(a.savedAt.Add(saveInterval))
	a.mu.Unlock()
	if !dirty {
		return 0
	}
	if wait > 0 {
		return wait
	}
	if !a.save(ctx) {
		return saveInterval
	}
	return 0
}

// save writes the current report and the last sequence, unless they are on disk.
// Only the goroutine of runReports calls it.
func (a *Agent) save(ctx context.Context) bool {
	a.mu.Lock()
	report := a.current
	report.Sequence = a.sequence
	due := a.dirty || a.sequence >= a.reserved
	failedBefore := a.saveFailed
	a.mu.Unlock()
	if !due {
		return true
	}
	err := a.store.SaveReport(report)
	a.mu.Lock()
	a.savedAt = time.Now()
	a.saveFailed = err != nil
	if err == nil {
		a.dirty = false
		a.reserved = report.Sequence + sequenceGap
	}
	a.mu.Unlock()
	if err != nil && !failedBefore {
		a.log.ErrorContext(ctx, "report was not saved; it is tried again: check the disk", "error", err)
	}
	return err == nil
}

// compareInfo asks for the info to be sent when it has changed.
func (a *Agent) compareInfo() {
	info := a.info()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !reflect.DeepEqual(info, a.lastInfo) {
		a.wantInfo = true
	}
}
