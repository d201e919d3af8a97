package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/host"
	"github.com/nationtech/harmony-fleet/domain"
)

// Enrollment gives a device an identity of its own instead of a key that was
// made elsewhere: its key is made on the host and never leaves it.
type Enrollment struct {
	// Token is what to enroll with.
	Token TokenSource
	// Patience is how long a run waits for the fleet's decision; 10 minutes by
	// default. The next run goes on waiting.
	Patience time.Duration
}

const (
	tokenPath    = configDir + "/enrollment.token"
	identityPath = stateDir + "/identity/identity.json"

	defaultPatience = 10 * time.Minute
	askFirst        = 2 * time.Second
	askMost         = 15 * time.Second
)

// Codes of `fleet-agent enroll --no-wait`.
const (
	codeUndecided = 3
	codeRefused   = 4
	codeAway      = 5
)

// enrolled is the identity of a device on its host. One that is there is left
// alone.
type enrolled struct {
	shell      deploy.Shell
	device     contracts.DeviceID
	program    string
	servers    []string
	caFile     string // empty for none
	enrollment Enrollment
}

var _ deploy.Resource = (*enrolled)(nil)

// ID implements deploy.Resource.
func (e *enrolled) ID() string { return "enrollment" }

// found is what is on the host.
type found struct {
	// device is whose identity it is, empty for none.
	device contracts.DeviceID
	// unknown: there is one, and no program yet to say whose.
	unknown bool
	token   bool
}

// The agent itself says whose identity it is, without its configuration: that may
// name another device, or be of one that was not enrolled.
const lookForIdentity = `
if [ -e "$3" ]; then echo token; fi
[ -e "$2" ] || exit 0
[ -x "$1" ] || { echo unknown; exit 0; }
"$1" status --config /dev/null -o json || [ $? = 1 ]`

func (e *enrolled) look(ctx context.Context) (found, error) {
	out, err := host.Do(ctx, e.shell, deploy.Script{Text: lookForIdentity, Args: []string{e.program, identityPath, tokenPath}})
	if err != nil {
		return found{}, err
	}
	var now found
	out, now.token = strings.CutPrefix(out, "token\n")
	switch strings.TrimSpace(out) {
	case "":
		return now, nil
	case "unknown":
		now.unknown = true
		return now, nil
	}
	var who status
	if err := json.Unmarshal([]byte(out), &who); err != nil {
		return now, domain.Errorf(domain.ErrInvalid, "the agent does not say whose identity is in %s", identityPath)
	}
	now.device = who.Device
	return now, nil
}

// Plan implements deploy.Resource.
func (e *enrolled) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	if goal == deploy.Absent {
		return deploy.Unchanged("goes with its directory; to have the fleet refuse it: fleet device revoke " + string(e.device)), nil
	}
	now, err := e.look(ctx)
	switch {
	case err != nil:
		return deploy.Change{}, deploy.WithNext(err, "see what the agent says on the host: fleet-agent doctor --config /dev/null")
	case now.unknown:
		return deploy.Change{Action: deploy.ActionUpdate, Summary: "see whose identity is there, once the agent is installed"}, nil
	case now.device == "" && now.token:
		return deploy.Change{Action: deploy.ActionCreate, Summary: "go on with an enrollment that has begun"}, nil
	case now.device == "":
		return deploy.Change{Action: deploy.ActionCreate, Summary: "make a key on the host, and enroll it with a one-time token"}, nil
	case now.device != e.device:
		return deploy.Change{}, deploy.WithNext(domain.Errorf(domain.ErrConflict, "the host is enrolled as %s", now.device),
			"see that this is the host you mean; if it is to become %s, end its time as %s first: fleet-agent purge and rm -r %s on the host, fleet device revoke %s", e.device, now.device, stateDir, now.device)
	case now.token:
		return deploy.Change{Action: deploy.ActionUpdate, Summary: "remove the token, which is of no more use"}, nil
	}
	return deploy.Unchanged("enrolled as " + string(e.device)), nil
}

// Apply implements deploy.Resource.
func (e *enrolled) Apply(ctx context.Context, _ deploy.Goal, progress deploy.Progress) error {
	now, err := e.look(ctx)
	if err != nil {
		return err
	}
	if now.device == "" {
		if err := e.enroll(ctx, progress); err != nil {
			return err
		}
		// A daemon that runs has another identity or none.
		if err := host.StartAnew(ctx, e.shell, service); err != nil {
			return err
		}
	}
	return (&host.File{Shell: e.shell, Path: tokenPath}).Apply(ctx, deploy.Absent, progress)
}

// enroll puts the token on the host and has the agent ask until the fleet has
// decided. The token stays until the device has its identity.
func (e *enrolled) enroll(ctx context.Context, progress deploy.Progress) error {
	held, err := host.Do(ctx, e.shell, deploy.Script{Text: `if [ -e "$1" ]; then cat "$1"; fi`, Args: []string{tokenPath}})
	if err != nil {
		return err
	}
	held = strings.TrimSpace(held)
	token, err := e.enrollment.Token(ctx, held)
	if err != nil {
		return err
	}
	if err := checkToken(token, e.device); err != nil {
		return err
	}
	if token != held {
		file := host.File{Shell: e.shell, Path: tokenPath, Content: []byte(token + "\n")}
		if err := file.Apply(ctx, deploy.Present, progress); err != nil {
			return err
		}
	}
	patience := e.enrollment.Patience
	if patience <= 0 {
		patience = defaultPatience
	}
	deadline, pause, said := time.Now().Add(patience), askFirst, ""
	for {
		why, err := e.ask(ctx, progress)
		if err != nil || why == "" {
			return err
		}
		if why != said {
			said = why
			progress(why)
		}
		if time.Now().Add(pause).After(deadline) {
			return deploy.WithNext(domain.Errorf(domain.ErrPermissionDenied, "nobody has approved the device within %s: %s", patience, why),
				"approve it (fleet enroll approve %s) and run the same command again: it goes on where it stopped", e.device)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, askMost)
		if err := checkToken(token, e.device); err != nil {
			return err
		}
	}
}

// ask has the agent ask once. It returns what it waits for, "" once the device
// has its identity.
func (e *enrolled) ask(ctx context.Context, progress deploy.Progress) (string, error) {
	args := []string{e.program, "enroll", "--config", "/dev/null", "--no-wait", "--token-file", tokenPath, "--server", strings.Join(e.servers, ",")}
	if e.caFile != "" {
		args = append(args, "--ca-file", e.caFile)
	}
	result, err := e.shell.Run(ctx, deploy.Script{Text: `exec "$@"`, Args: args})
	if err != nil {
		return "", err
	}
	why := strings.TrimPrefix(strings.TrimSpace(result.Stderr), "Error: ")
	key, _, _ := strings.Cut(result.Stdout, "\n") // "device pi-1, key SHA256:…"
	switch result.Code {
	case 0:
		for line := range strings.Lines(result.Stdout) {
			if strings.HasPrefix(line, "warning: ") || strings.Contains(line, " is enrolled as ") {
				progress(strings.TrimSpace(line))
			}
		}
		return "", nil
	case codeUndecided:
		return fmt.Sprintf("%s (%s)", why, key), nil
	case codeRefused:
		return "", deploy.WithNext(domain.Errorf(domain.ErrPermissionDenied, "%s", why),
			"see `fleet enroll list`; if the host is the one that you mean, approve it (fleet enroll approve %[1]s), or invite it anew (fleet enroll create %[1]s --replace --token-file FILE), and run the same command again", e.device)
	case codeAway:
		return "", deploy.WithNext(domain.Errorf(domain.ErrUnavailable, "%s", why),
			"see that the host reaches the broker (fleet-agent doctor), and that fleet-operator and its callout run")
	default:
		return "", fmt.Errorf("fleet-agent enroll ended with code %d: %s", result.Code, why)
	}
}
