package site

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/agent"
	"github.com/nationtech/harmony-fleet/deploy/host"
	"github.com/nationtech/harmony-fleet/domain"
)

// Agents are fleet-agent on hosts.
type Agents struct {
	// Packages are .deb and .rpm files of fleet-agent, for all kinds of host.
	Packages []string `yaml:"packages"`
	// Programs are bare fleet-agent programs instead, by architecture.
	Programs map[string]string `yaml:"programs"`
	// SigningKeys are the fleet's public keys.
	SigningKeys []string `yaml:"signingKeys"`
	// Servers are the broker's URLs, and CAFile its only authorities.
	Servers []string `yaml:"servers"`
	CAFile  string   `yaml:"caFile"`
	// Podman installs Podman where neither it nor Docker is.
	Podman bool `yaml:"podman"`
	// LogLevel of the agents.
	LogLevel string `yaml:"logLevel"`
	// SSH holds for all hosts that do not say otherwise.
	SSH SSH `yaml:"ssh"`
	// Fleet, when set, is asked whether it hears the devices.
	Fleet *Fleet `yaml:"fleet"`
	// Enroll, when set, has Fleet invite the hosts that name no credential.
	Enroll *Enroll `yaml:"enroll"`
	Hosts  []Host  `yaml:"hosts"`
	// Image is fleet-agent's for Pods, which are devices in the cluster.
	Image string `yaml:"image"`
	Pods  []Pod  `yaml:"pods"`
}

// SSH is how to log in.
type SSH struct {
	User       string `yaml:"user"`
	KeyFile    string `yaml:"keyFile"`
	KnownHosts string `yaml:"knownHosts"`
}

// Host is one device.
type Host struct {
	Device contracts.DeviceID `yaml:"device"`
	// Address is a name or IP address with or without a port. Local is this
	// machine instead.
	Address string `yaml:"address"`
	Local   bool   `yaml:"local"`
	// HostKey pins the host's key, instead of known_hosts.
	HostKey string `yaml:"hostKey"`
	SSH     SSH    `yaml:"ssh"`
	// The device's credential at the broker: a key, a user and password, or the
	// one-time token that it enrolls with.
	NKeyFile     string `yaml:"nkeyFile"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"passwordFile"`
	TokenFile    string `yaml:"tokenFile"`
	// Labels are those that the device says of itself, FleetLabels those that it
	// is invited with, and Replace invites one anew that has an identity.
	Labels      contracts.Labels `yaml:"labels"`
	FleetLabels contracts.Labels `yaml:"fleetLabels"`
	Replace     bool             `yaml:"replace"`
}

// Fleet is a credential that may read what devices say, and invite them.
type Fleet struct {
	Server       string `yaml:"server"`
	NKeyFile     string `yaml:"nkeyFile"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"passwordFile"`
}

// opener opens the hosts of one site.
type opener struct {
	site        *Site
	environment Environment
	base        agent.FleetAgentScore
}

func (s *Site) openAgents(environment Environment, opened *Opened) error {
	if s.Agents == nil {
		return nil
	}
	o := &opener{site: s, environment: environment}
	if err := o.readShared(); err != nil {
		return err
	}
	if len(s.Agents.Hosts)+len(s.Agents.Pods) == 0 {
		return fmt.Errorf("agents.hosts: name at least one host, or one of pods")
	}
	if s.Agents.Enroll != nil {
		if err := s.Agents.Enroll.check(s.Agents.Fleet); err != nil {
			return err
		}
	}
	seen := map[contracts.DeviceID]bool{}
	for i, h := range s.Agents.Hosts {
		if seen[h.Device] {
			return fmt.Errorf("agents.hosts[%d]: device %q is there twice", i, h.Device)
		}
		seen[h.Device] = true
		if err := o.open(h, opened); err != nil {
			return fmt.Errorf("agents.hosts[%d] (%s): %w", i, h.Device, err)
		}
	}
	for i, p := range s.Agents.Pods {
		if seen[p.Device] {
			return fmt.Errorf("agents.pods[%d]: device %q is there twice", i, p.Device)
		}
		seen[p.Device] = true
		if err := o.openPod(p, opened); err != nil {
			return fmt.Errorf("agents.pods[%d] (%s): %w", i, p.Device, err)
		}
	}
	return nil
}

func (o *opener) readShared() error {
	a := o.site.Agents
	o.base = agent.FleetAgentScore{
		InstallPodman: a.Podman,
		Config:        agent.Config{SigningKeys: a.SigningKeys, Servers: a.Servers, LogLevel: a.LogLevel},
	}
	for _, name := range a.Packages {
		pkg, err := host.ReadPackage(o.path(name))
		if err != nil {
			return fmt.Errorf("agents.packages: %w", err)
		}
		o.base.Packages = append(o.base.Packages, pkg)
	}
	for architecture, name := range a.Programs {
		program, err := o.read(name)
		if err != nil {
			return fmt.Errorf("agents.programs.%s: %w", architecture, err)
		}
		if o.base.Programs == nil {
			o.base.Programs = map[string][]byte{}
		}
		o.base.Programs[architecture] = program
	}
	var err error
	if o.base.Config.CA, err = o.read(a.CAFile); err != nil {
		return fmt.Errorf("agents.caFile: %w", err)
	}
	return nil
}

func (o *opener) path(name string) string { return o.site.path(name, o.environment.Getenv) }

// read returns a file's content, and nothing for no name.
func (o *opener) read(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	return os.ReadFile(o.path(name))
}

func (o *opener) open(h Host, opened *Opened) error {
	score := o.base
	score.Device = h.Device
	score.Config.User, score.Config.Labels = h.User, h.Labels
	var err error
	if score.Config.NKey, err = o.read(h.NKeyFile); err != nil {
		return fmt.Errorf("nkeyFile: %w", err)
	}
	if score.Config.Password, err = o.read(h.PasswordFile); err != nil {
		return fmt.Errorf("passwordFile: %w", err)
	}
	if score.Config.Enrollment, err = o.enrollment(h); err != nil {
		return err
	}
	shell, err := o.shell(h, opened)
	if err != nil {
		return err
	}
	// What is wrong with the input is found before anything is done anywhere.
	if _, err := score.Resources(shell); err != nil {
		return err
	}
	target := Target{Name: string(h.Device), Job: deploy.For(&score).On(shell)}
	if o.site.Agents.Fleet != nil {
		target.Companions = append(target.Companions, agent.Seen(hears{o}, h.Device))
	}
	target.Companions = append(target.Companions, host.Journal(shell, "fleet-agent"))
	opened.Targets = append(opened.Targets, target)
	return nil
}

func (o *opener) shell(h Host, opened *Opened) (agent.Host, error) {
	if h.Local == (h.Address != "") {
		return nil, fmt.Errorf("address: name it, or write local: true for this machine")
	}
	if h.Local {
		return host.Local{}, nil
	}
	all := o.site.Agents.SSH
	config := host.Config{
		Address:    h.Address,
		HostKey:    h.HostKey,
		User:       first(h.SSH.User, all.User),
		KeyFile:    o.path(first(h.SSH.KeyFile, all.KeyFile)),
		KnownHosts: o.path(first(h.SSH.KnownHosts, all.KnownHosts)),
	}
	config.AgentSocket, _ = o.environment.Getenv("SSH_AUTH_SOCK")
	shell, err := host.New(config)
	if err != nil {
		return nil, err
	}
	opened.Closers = append(opened.Closers, shell)
	return shell, nil
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// connect connects to the fleet.
func (o *opener) connect(ctx context.Context) (*nats.Conn, error) {
	f := o.site.Agents.Fleet
	config := nats.Config{
		Servers: []string{f.Server}, Name: "fleet-deploy", CAFile: o.path(o.site.Agents.CAFile), FailFast: true,
		Logger: slog.New(slog.DiscardHandler),
	}
	switch {
	case f.NKeyFile != "":
		config.Credential = nats.SeedFile(o.path(f.NKeyFile))
	case f.User != "":
		config.Credential = nats.PasswordFile(f.User, o.path(f.PasswordFile))
	}
	conn, err := nats.Connect(ctx, config)
	return conn, deploy.WithNext(err, "see that agents.fleet names the broker and a credential that it admits")
}

// hears is the fleet over a connection of its own, while it is asked.
type hears struct{ opener *opener }

// Consume implements agent.Listener.
func (h hears) Consume(ctx context.Context, handle func(domain.Observation) error) error {
	conn, err := h.opener.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return nats.NewObservedStateConsumer(conn).Consume(ctx, handle)
}
