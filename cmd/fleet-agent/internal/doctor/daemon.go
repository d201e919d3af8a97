package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/local"
	"github.com/nationtech/harmony-fleet/contracts"
)

const lookAtLog = "look at its log: journalctl -u fleet-agent"

func checkDaemon(ctx context.Context, stateDir string) []Check {
	const name = "daemon"
	status, err := local.Ask(ctx, stateDir)
	switch {
	case errors.Is(err, local.ErrNotRunning):
		return []Check{
			fail(name, err.Error(), "start it: systemctl start fleet-agent; if it ends again, "+lookAtLog),
			warn("runtimes", "not known: the daemon tells", "start the daemon"),
		}
	case errors.Is(err, fs.ErrPermission):
		return []Check{fail(name, err.Error(), runAsAgent)}
	case err != nil:
		return []Check{fail(name, err.Error(), "restart it: systemctl restart fleet-agent; "+lookAtLog)}
	}
	checks := []Check{
		ok(name, "%s runs since %s", status.Version, status.StartedAt.UTC().Format(time.RFC3339)),
		checkLink(status.Link),
	}
	if status.Refused != nil {
		checks = append(checks, fail("refused state", fmt.Sprintf("generation %d, %s: %s", status.Refused.Generation, status.Refused.Reason, status.Refused.Message),
			"compare signing_keys and device in the configuration with what the operator uses"))
	}
	return append(checks, checkRuntimes(status)...)
}

func checkLink(link *local.Link) Check {
	const name = "link"
	if link == nil {
		return fail(name, "the daemon does not tell", lookAtLog)
	}
	since := link.Since.UTC().Format(time.RFC3339)
	if link.Connected {
		return ok(name, "connected to %s since %s", link.Server, since)
	}
	return fail(name, fmt.Sprintf("not connected since %s: %s", since, cmp.Or(link.Problem, "still trying")),
		"repair what the lines about the broker say; when they are ok, check that the broker knows this device's credential")
}

// checkRuntimes takes a broken runtime as a failure only when it is missed: a
// device need not have every engine that an agent can use.
func checkRuntimes(status local.Status) []Check {
	if len(status.Runtimes) == 0 {
		return []Check{warn("runtimes", "none: nothing can run on this device", "enable a runtime in the configuration")}
	}
	level := Warn
	missed := slices.ContainsFunc(status.Deployments, func(d local.Deployment) bool { return d.Reason == contracts.ReasonRuntimeUnavailable })
	if missed || !slices.ContainsFunc(status.Runtimes, func(r local.Runtime) bool { return r.Problem == "" }) {
		level = Fail
	}
	checks := make([]Check, 0, len(status.Runtimes))
	for _, runtime := range status.Runtimes {
		name := "runtime " + runtime.Name
		switch {
		case runtime.Problem != "":
			checks = append(checks, Check{Level: level, Name: name, Found: runtime.Problem, Next: "start it, or disable it in the configuration if this device does not need it"})
		case runtime.SeenAt.IsZero():
			checks = append(checks, warn(name, "not looked at yet", "ask again in a minute; "+lookAtLog))
		default:
			checks = append(checks, ok(name, "works, looked at %s", runtime.SeenAt.UTC().Format(time.RFC3339)))
		}
	}
	return checks
}
