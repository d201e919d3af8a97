package fleettest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Separate is a fleet whose broker, operator and agents can be killed and
// started one by one.
type Separate struct {
	Broker   *Dev
	Operator *Program
	Agents   map[string]*Program

	bin, dir, port string
	devices        int
	extra          []string
}

// StartSeparate starts a fleet of n devices with its files in dir. More
// arguments go to fleet dev.
func StartSeparate(ctx context.Context, bin, dir string, n int, extra ...string) (*Separate, error) {
	s := &Separate{Agents: map[string]*Program{}, bin: bin, dir: dir, port: "0", devices: n, extra: extra}
	if err := s.StartBroker(ctx); err != nil {
		return nil, err
	}
	address, err := url.Parse(s.Broker.Server)
	if err != nil {
		return nil, errors.Join(err, s.End(ctx))
	}
	s.port = address.Port()
	if err := s.StartOperator(); err != nil {
		return nil, errors.Join(err, s.End(ctx))
	}
	for _, device := range s.Broker.Devices {
		if err := s.StartAgent(device); err != nil {
			return nil, errors.Join(err, s.End(ctx))
		}
	}
	return s, nil
}

// StartBroker starts the broker, or starts it again on the same port and files.
func (s *Separate) StartBroker(ctx context.Context) error {
	args := []string{
		"--devices", fmt.Sprint(s.devices), "--sites", "paris",
		"--port", s.port, "--heartbeat-interval", "1s", "--no-operator", "--no-agents",
	}
	broker, err := StartDev(ctx, s.bin, s.dir, nil, append(args, s.extra...)...)
	if err != nil {
		return err
	}
	s.Broker = broker
	return nil
}

// StartOperator starts the operator, or starts it again.
func (s *Separate) StartOperator() error {
	config := filepath.Join(s.Broker.Dir, "operator.yaml")
	operator, err := Start("operator", filepath.Join(s.bin, "fleet-operator"), []string{"run", "--config", config}, nil, nil)
	if err != nil {
		return err
	}
	s.Operator = operator
	return nil
}

// StartAgent starts a device's agent, or starts it again.
func (s *Separate) StartAgent(device string) error {
	agent, err := Start("agent "+device, s.agent(), []string{"--config", s.config(device)}, nil, nil)
	if err != nil {
		return err
	}
	s.Agents[device] = agent
	return nil
}

func (s *Separate) agent() string { return filepath.Join(s.bin, "fleet-agent") }

func (s *Separate) config(device string) string {
	return filepath.Join(s.Broker.Dir, "devices", device, "config.toml")
}

// End stops everything, workloads included.
func (s *Separate) End(ctx context.Context) error {
	const grace = 20 * time.Second
	var problems []error
	for device, agent := range s.Agents {
		problems = append(problems, agent.Stop(syscall.SIGTERM, grace))
		_, said, err := Run(context.WithoutCancel(ctx), s.agent(), []string{"purge", "--config", s.config(device)}, nil)
		if err != nil {
			problems = append(problems, fmt.Errorf("purge %s: %w: %s", device, err, said))
		}
	}
	if s.Operator != nil {
		problems = append(problems, s.Operator.Stop(syscall.SIGTERM, grace))
	}
	return errors.Join(append(problems, s.Broker.Stop(syscall.SIGINT, grace))...)
}

// Logs returns what every program printed, for a failed test.
func (s *Separate) Logs() string {
	var text strings.Builder
	fmt.Fprintf(&text, "broker:\n%s", s.Broker.Output())
	if s.Operator != nil {
		fmt.Fprintf(&text, "\noperator:\n%s", s.Operator.Output())
	}
	for device, agent := range s.Agents {
		fmt.Fprintf(&text, "\nagent %s:\n%s", device, agent.Output())
	}
	return text.String()
}
