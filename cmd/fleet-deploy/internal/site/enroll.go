package site

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/agent"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

// Enroll says how devices are invited.
type Enroll struct {
	// Lifetime is how long a token is of use; an hour by default.
	Lifetime time.Duration `yaml:"lifetime"`
	// Manual leaves the decision to the fleet's policy or a person, and Wait is
	// how long one run waits for it; 10 minutes by default.
	Manual bool          `yaml:"manual"`
	Wait   time.Duration `yaml:"wait"`
}

const defaultLifetime = time.Hour

// check checks what is the same for all hosts.
func (e *Enroll) check(fleet *Fleet) error {
	switch {
	case fleet == nil:
		return errors.New("agents.enroll: set agents.fleet as well, whose credential invites the devices")
	case e.Lifetime != 0 && (e.Lifetime < time.Minute || e.Lifetime > enrollment.MaxTokenLifetime):
		return fmt.Errorf("agents.enroll.lifetime: %s is out of range, must be from 1m to %s", e.Lifetime, enrollment.MaxTokenLifetime)
	case e.Wait < 0:
		return fmt.Errorf("agents.enroll.wait: %s is less than nothing", e.Wait)
	}
	return nil
}

// enrollment returns how a host gets its identity, nil when it has a credential.
func (o *opener) enrollment(h Host) (*agent.Enrollment, error) {
	enroll := o.site.Agents.Enroll
	invited := enroll != nil && h.TokenFile == "" && h.NKeyFile == "" && h.User == ""
	if !invited && (len(h.FleetLabels) > 0 || h.Replace) {
		return nil, errors.New("fleetLabels and replace are for devices that agents.enroll invites")
	}
	if h.TokenFile == "" && !invited {
		return nil, nil
	}
	result := &agent.Enrollment{}
	if enroll != nil {
		result.Patience = enroll.Wait
	}
	if h.TokenFile != "" {
		result.Token = tokenFile(o.path(h.TokenFile), h.Device)
		return result, nil
	}
	if err := contracts.CheckPeoplesLabels(h.FleetLabels); err != nil {
		return nil, fmt.Errorf("fleetLabels: %w", err)
	}
	invitation := enrollment.Invitation{Device: h.Device, Labels: h.FleetLabels, Lifetime: enroll.Lifetime, Manual: enroll.Manual}
	if invitation.Lifetime == 0 {
		invitation.Lifetime = defaultLifetime
	}
	result.Token = func(ctx context.Context, held string) (string, error) {
		conn, err := o.connect(ctx)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return agent.Inviter{
			Issuer: nats.NewTokenIssuer(conn), Intents: nats.NewEnrollmentStore(conn), Events: nats.NewEventLog(conn),
			Actor: o.environment.actor(), Replace: h.Replace,
		}.Token(ctx, held, invitation)
	}
	return result, nil
}

// tokenFile reads the token when it is needed: of a device that is enrolled it
// may be gone.
func tokenFile(path string, device contracts.DeviceID) agent.TokenSource {
	return func(_ context.Context, held string) (string, error) {
		text, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && held != "":
			return held, nil
		case errors.Is(err, fs.ErrNotExist):
			return "", deploy.WithNext(domain.WrapError(domain.ErrNotFound, err, "enrollment token"),
				"make one: fleet enroll create %s --token-file %s", device, path)
		case err != nil:
			return "", fmt.Errorf("enrollment token: %w", err)
		}
		return strings.TrimSpace(string(text)), nil
	}
}

// actor names who runs the program, for the fleet's audit.
func (e Environment) actor() string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if user, _ := e.Getenv(name); user != "" {
			return "cli:" + user
		}
	}
	return fmt.Sprintf("cli:uid-%d", os.Getuid())
}
