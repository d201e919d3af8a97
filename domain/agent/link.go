package agent

import "github.com/nationtech/harmony-fleet/domain"

// linked takes in the state of the connection. A new connection gets a heartbeat,
// the info and a report.
func (a *Agent) linked(state domain.LinkState) {
	a.mu.Lock()
	before := a.linkState
	a.linkState = state
	// States in between may be left out: another time means another connection.
	anew := state.Connected && (!before.Connected || !before.Since.Equal(state.Since))
	if anew {
		a.wantInfo, a.wantReport, a.beatNow = true, true, true
	}
	a.mu.Unlock()
	switch {
	case anew:
		a.log.Info("connected to the broker", "server", state.Server)
	case !state.Connected && state.Problem != "" && state.Problem != before.Problem:
		a.log.Warn("not connected to the broker; workloads go on, and the connection is tried again", "error", state.Problem)
	}
	if anew || before.Connected != state.Connected {
		ring(a.beatBell)
		ring(a.reportBell)
	}
}
