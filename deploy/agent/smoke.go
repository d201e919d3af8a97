package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	smokeTimeout  = 90 * time.Second
	smokeInterval = time.Second
)

// status is what the Score reads of `fleet-agent status -o json`.
type status struct {
	Device  contracts.DeviceID `json:"device"`
	Version string             `json:"version"`
	Link    *struct {
		Connected bool   `json:"connected"`
		Server    string `json:"server"`
		Problem   string `json:"problem"`
	} `json:"link"`
	LastHeartbeatAt time.Time `json:"lastHeartbeatAt"`
}

// Smoke implements deploy.Score: the agent runs as this device, is connected to
// the broker and has sent a heartbeat.
func (s *FleetAgentScore) Smoke(ctx context.Context, topology Host, progress deploy.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, smokeTimeout)
	defer cancel()
	waiting := ""
	for {
		now, err := s.ask(ctx, topology)
		if err == nil && now == "" {
			return nil
		}
		if err != nil && (ctx.Err() == nil || waiting == "") {
			return err
		}
		if ctx.Err() != nil {
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return deploy.WithNext(fmt.Errorf("after %s: %s", smokeTimeout, waiting), "ask the agent on the host: fleet-agent doctor")
		}
		if now != waiting {
			waiting = now
			progress("wait: " + waiting)
		}
		select {
		case <-ctx.Done():
		case <-time.After(smokeInterval):
		}
	}
}

// ask returns what there is to wait for, empty when all is well.
func (s *FleetAgentScore) ask(ctx context.Context, topology Host) (string, error) {
	result, err := topology.Run(ctx, deploy.Script{Text: s.program() + ` status --config "$1" -o json`, Args: []string{configPath}})
	if err != nil {
		return "", err
	}
	var found status
	if err := json.Unmarshal([]byte(result.Stdout), &found); err != nil {
		return fmt.Sprintf("the agent does not answer (code %d)", result.Code), nil
	}
	switch {
	case found.Device != s.Device:
		return "", domain.Errorf(domain.ErrConflict, "the agent runs as %q", found.Device)
	case found.Link == nil:
		return "the agent does not run", nil
	case !found.Link.Connected && found.Link.Problem != "":
		return "not connected to the broker: " + found.Link.Problem, nil
	case !found.Link.Connected:
		return "not connected to the broker", nil
	case found.LastHeartbeatAt.IsZero():
		return "no heartbeat was sent yet", nil
	}
	return "", nil
}

// errSeen ends the wait for a heartbeat.
var errSeen = errors.New("seen")

// SeenName is the name of Seen's check.
const SeenName = "heartbeat seen by the fleet"

// Listener is the part of domain.ObservedStateConsumer that hears devices.
type Listener interface {
	Consume(ctx context.Context, handle func(domain.Observation) error) error
}

// Seen is a companion that checks the other end: the fleet hears the device.
func Seen(fleet Listener, device contracts.DeviceID) deploy.Companion {
	return deploy.Companion{Name: SeenName, Check: func(ctx context.Context, progress deploy.Progress) error {
		ctx, cancel := context.WithTimeout(ctx, smokeTimeout)
		defer cancel()
		caughtUp := false
		err := fleet.Consume(ctx, func(observation domain.Observation) error {
			if observation.CaughtUp {
				caughtUp = true
			}
			// What was said before proves nothing about now.
			if caughtUp && observation.Device == device && observation.Heartbeat != nil {
				progress("agent " + observation.Heartbeat.AgentVersion)
				return errSeen
			}
			return nil
		})
		switch {
		case errors.Is(err, errSeen):
			return nil
		case err == nil && errors.Is(ctx.Err(), context.Canceled):
			return ctx.Err()
		case err == nil:
			return deploy.WithNext(fmt.Errorf("the fleet heard nothing from %s for %s", device, smokeTimeout), "see that the agent's broker is this fleet's")
		}
		return err
	}}
}
