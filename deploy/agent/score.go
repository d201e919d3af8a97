package agent

import (
	"context"
	"fmt"
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/host"
	"github.com/nationtech/harmony-fleet/domain"
)

// Where the agent's files are.
const (
	service        = "fleet-agent"
	configDir      = "/etc/fleet-agent"
	configPath     = configDir + "/config.toml"
	stateDir       = "/var/lib/fleet-agent"
	packageProgram = "/usr/bin/fleet-agent"
	bareProgram    = "/usr/local/bin/fleet-agent"
	bareUnit       = "/etc/systemd/system/fleet-agent.service"
)

// Host is what the Score needs of a topology.
type Host interface{ deploy.Shell }

// FleetAgentScore is fleet-agent on one host: its program, configuration,
// credential and service, and on request Podman. The agent runs as root, as its
// unit says why.
type FleetAgentScore struct {
	// Device is this host's ID in its fleet.
	Device contracts.DeviceID
	// Packages are for hosts of different kinds; the one that fits is
	// installed. Programs are the same without packages: the bare program by
	// Go's name of the architecture. Set one of both.
	Packages []host.Package
	Programs map[string][]byte
	// Config is the agent's configuration.
	Config Config
	// InstallPodman installs Podman where neither it nor Docker is there.
	InstallPodman bool
}

var _ deploy.Score[Host] = (*FleetAgentScore)(nil)

// Name implements deploy.Score.
func (s *FleetAgentScore) Name() string { return "agent " + string(s.Device) }

// Resources implements deploy.Score.
func (s *FleetAgentScore) Resources(topology Host) ([]deploy.Resource, error) {
	if err := s.Device.Validate(); err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "device")
	}
	if (len(s.Packages) == 0) == (len(s.Programs) == 0) {
		return nil, domain.Errorf(domain.ErrInvalid, "device %s: name packages or programs, and not both", s.Device)
	}
	config, err := s.Config.render(s.Device)
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", s.Device, err)
	}
	resources := []deploy.Resource{host.Systemd{Shell: topology}}
	if s.InstallPodman {
		resources = append(resources, host.Podman{Shell: topology})
	}
	program := packageProgram
	if len(s.Packages) > 0 {
		resources = append(resources, &host.InstalledPackage{Shell: topology, Name: service, Choose: s.choose})
	}
	// Directories come before what is in them, and are removed after it.
	resources = append(resources, &host.Directory{Shell: topology, Path: stateDir}, &host.Directory{Shell: topology, Path: configDir})
	inputs := []string{}
	if len(s.Programs) > 0 {
		program = bareProgram
		resources = append(resources,
			&bareFile{Shell: topology, programs: s.Programs},
			&host.File{Shell: topology, Path: bareUnit, Content: []byte(bareUnitText()), Mode: 0o644})
		inputs = append(inputs, bareUnit)
	}
	inputs = append(inputs, program)
	for _, file := range s.Config.secrets() {
		resources = append(resources, &host.File{Shell: topology, Path: file.path, Content: file.content})
		inputs = append(inputs, file.path)
	}
	if s.Config.Enrollment != nil { // before the configuration, which is checked with the identity
		resources = append(resources, &enrolled{
			shell: topology, device: s.Device, program: program,
			servers: s.Config.Servers, caFile: s.Config.caFile(), enrollment: *s.Config.Enrollment,
		})
	}
	inputs = append(inputs, configPath)
	resources = append(resources, &host.File{
		Shell: topology, Path: configPath, Content: config, Check: program + ` check --config "$1" >&2`,
	})
	return append(resources, &host.Service{
		Shell:  topology,
		Name:   service,
		Inputs: inputs,
		// The workloads go with the agent: nobody would look after them.
		Leave: fmt.Sprintf("if %[1]s check --config %[2]s >/dev/null 2>&1; then %[1]s purge --config %[2]s; fi", program, configPath),
	}), nil
}

func (s *FleetAgentScore) choose(facts host.Facts) (host.Package, error) {
	pkg, err := host.Choose(s.Packages, facts)
	if err == nil && pkg.Name != service {
		return pkg, domain.Errorf(domain.ErrInvalid, "the package is %q, not %q", pkg.Name, service)
	}
	return pkg, err
}

// program returns the agent's path on the host.
func (s *FleetAgentScore) program() string {
	if len(s.Programs) > 0 {
		return bareProgram
	}
	return packageProgram
}

// bareFile is the program for the host's architecture.
type bareFile struct {
	Shell    deploy.Shell
	programs map[string][]byte
}

func (b *bareFile) ID() string { return "program " + bareProgram }

func (b *bareFile) Plan(ctx context.Context, goal deploy.Goal) (deploy.Change, error) {
	file, err := b.file(ctx, goal)
	if err != nil {
		return deploy.Change{}, err
	}
	return file.Plan(ctx, goal)
}

func (b *bareFile) Apply(ctx context.Context, goal deploy.Goal, progress deploy.Progress) error {
	file, err := b.file(ctx, goal)
	if err != nil {
		return err
	}
	if goal == deploy.Present {
		progress(fmt.Sprintf("upload %d KiB", len(file.Content)/1024))
	}
	return file.Apply(ctx, goal, progress)
}

func (b *bareFile) file(ctx context.Context, goal deploy.Goal) (*host.File, error) {
	file := &host.File{Shell: b.Shell, Path: bareProgram, Mode: 0o755, Check: `"$1" version >/dev/null`}
	if goal == deploy.Absent {
		return file, nil
	}
	facts, err := host.Look(ctx, b.Shell)
	if err != nil {
		return nil, err
	}
	program, ok := b.programs[facts.Architecture]
	if !ok {
		return nil, deploy.WithNext(domain.Errorf(domain.ErrNotFound, "no program for %s, which the host is", facts.Architecture),
			"build it (GOARCH=%s make build) and name it as well", facts.Architecture)
	}
	file.Content = program
	return file, nil
}

// bareUnitText is the packages' unit with the program's other place.
func bareUnitText() string {
	return strings.ReplaceAll(unit, packageProgram+" ", bareProgram+" ")
}
