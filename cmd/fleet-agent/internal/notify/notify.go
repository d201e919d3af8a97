// Package notify tells systemd how the agent is (sd_notify).
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// Notifier speaks to the service manager that started this process. Without
// one, it does nothing.
type Notifier struct {
	socket   string
	watchdog time.Duration
	log      *slog.Logger
}

// New reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID as getenv returns
// them.
func New(getenv func(string) (string, bool), log *slog.Logger) *Notifier {
	n := &Notifier{log: log}
	n.socket, _ = getenv("NOTIFY_SOCKET")
	if pid, ok := getenv("WATCHDOG_PID"); ok && pid != strconv.Itoa(os.Getpid()) {
		return n
	}
	limit, _ := getenv("WATCHDOG_USEC")
	if microseconds, err := strconv.ParseInt(limit, 10, 64); err == nil && microseconds > 0 {
		n.watchdog = time.Duration(microseconds) * time.Microsecond
	}
	return n
}

// Run says that the service is ready, then, at half of the watchdog's limit,
// that it lives, and at the end that it stops. Before each sign of life it calls
// alive: when that blocks there is none, and systemd restarts the service. Run
// blocks until ctx is cancelled and returns nil: what cannot be sent is logged.
func (n *Notifier) Run(ctx context.Context, alive func()) error {
	if n.socket == "" {
		return nil
	}
	n.tell(ctx, "READY=1")
	defer n.tell(ctx, "STOPPING=1")
	if n.watchdog/2 <= 0 {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(n.watchdog / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			alive()
			n.tell(ctx, "WATCHDOG=1")
		}
	}
}

func (n *Notifier) tell(ctx context.Context, state string) {
	if err := n.send(ctx, state); err != nil {
		n.log.WarnContext(ctx, "service manager was not told", "state", state, "error", err)
	}
}

// send goes on after ctx is cancelled: a datagram to a local socket is quick, and
// the last one says that the service stops.
func (n *Notifier) send(ctx context.Context, state string) (err error) {
	conn, err := (&net.Dialer{Timeout: sendTimeout}).DialContext(context.WithoutCancel(ctx), "unixgram", n.socket)
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(state))
	return err
}

const sendTimeout = time.Second
