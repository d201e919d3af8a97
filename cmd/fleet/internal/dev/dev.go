package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/devserver"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/contexts"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/local"
	"github.com/nationtech/harmony-fleet/domain"
)

// contextName is the CLI context that leads to the development fleet.
const contextName = "dev"

// defaultHost is where the broker listens unless told otherwise.
const defaultHost = "127.0.0.1"

// Options say what to run.
type Options struct {
	Devices int
	Sites   []string
	Dir     string
	// Host is an address of this machine, Port zero for any free one.
	Host      string
	Port      int
	Heartbeat time.Duration
	// Auth gives the devices real identities: they enroll, and are admitted by
	// an auth callout.
	Auth bool
	// Operator, Agent and Identity are paths of the programs; empty to look for
	// them.
	Operator, Agent, Identity string
	// NoOperator and NoAgents leave the programs to somebody else, who finds
	// their configurations in Dir.
	NoOperator, NoAgents bool
	// Containers lets the agents use this machine's container engine.
	Containers bool
	// Contexts takes the context "dev" while the fleet runs; nil for none.
	Contexts *contexts.Store
}

// fleet is a development fleet with all its parts prepared.
type fleet struct {
	options  Options
	layout   layout
	members  []member
	operator string
	agent    string
	identity string
	// signing is the public signing key.
	signing string
	server  *devserver.Server
	// began is when this run did.
	began time.Time
	out   io.Writer
}

// Run runs a fleet until ctx is cancelled; then it stops every program and
// every workload, and removes what it made unless a directory was named.
func Run(ctx context.Context, o Options, out io.Writer) (err error) {
	f, cleanUp, err := prepare(ctx, o, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanUp()) }()
	machine := local.New(ctx)
	defer func() { err = errors.Join(err, machine.Close()) }()
	up := &bringUp{fleet: f, machine: machine}
	defer func() { err = errors.Join(err, up.takeDown(context.WithoutCancel(ctx))) }()

	if err := up.apply(ctx, f.broker()); err != nil {
		return err
	}
	ready, leave, err := f.announce()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	for _, stage := range f.stages() {
		if err := up.apply(ctx, stage...); err != nil {
			return err
		}
	}
	if ctx.Err() == nil {
		f.printf("%s", ready.help(f.contextName()))
	}
	return machine.Wait(ctx)
}

// bringUp brings up the parts of a fleet, and takes them down again.
type bringUp struct {
	fleet   *fleet
	machine *local.Topology
	up      []deploy.Job
}

// apply brings up parts that do not need each other. It returns nil when ctx
// ends first.
func (b *bringUp) apply(ctx context.Context, parts ...part) error {
	jobs := make([]deploy.Job, len(parts))
	for i, part := range parts {
		jobs[i] = deploy.For(part).On(b.machine)
	}
	b.up = append(b.up, jobs...)
	options := b.fleet.observer()
	// What one of them lacks is of no use to the others.
	group, working := errgroup.WithContext(ctx)
	for _, job := range jobs {
		group.Go(func() error {
			_, err := job.Apply(working, options)
			return err
		})
	}
	err := group.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// takeDown is apply the other way round.
func (b *bringUp) takeDown(ctx context.Context) error {
	b.fleet.printf("stopping; workloads have until the end of their grace period, and Ctrl-C again leaves them behind\n")
	options := b.fleet.observer()
	var problems []error
	for _, job := range slices.Backward(b.up) {
		_, err := job.Destroy(ctx, options)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func (f *fleet) printf(format string, args ...any) { _, _ = fmt.Fprintf(f.out, format, args...) }

func (f *fleet) contextName() string {
	if f.options.Contexts == nil {
		return ""
	}
	return contextName
}

// prepare makes directories, keys and configurations.
func prepare(ctx context.Context, o Options, out io.Writer) (f *fleet, cleanUp func() error, err error) {
	f = &fleet{options: o, began: time.Now(), out: out}
	if f.members, err = members(o.Devices, o.Sites); err != nil {
		return nil, nil, err
	}
	if f.operator, err = find(o.Operator, "fleet-operator"); err != nil {
		return nil, nil, err
	}
	if f.agent, err = find(o.Agent, "fleet-agent"); err != nil {
		return nil, nil, err
	}
	if o.Auth {
		if f.identity, err = find(o.Identity, "fleet-dev-identity"); err != nil {
			return nil, nil, err
		}
	}
	var remove func() error
	f.layout, remove, err = newLayout(o.Dir)
	if err != nil {
		return nil, nil, err
	}
	unlock, err := f.layout.lock()
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	cleanUp = func() error { return errors.Join(remove(), unlock()) }
	if err := f.configure(ctx); err != nil {
		return nil, nil, errors.Join(err, cleanUp())
	}
	return f, cleanUp, nil
}

func (f *fleet) configure(ctx context.Context) error {
	if err := checkAddress(f.options.Host, f.options.Port); err != nil {
		return err
	}
	err := f.layout.checkAuth(f.options.Auth)
	if err != nil {
		return err
	}
	if f.signing, err = signingKey(ctx, f.operator, f.layout); err != nil {
		return err
	}
	if f.options.Auth {
		f.server, err = f.serverWithCallout()
	} else {
		f.server, err = f.serverWithKeys()
	}
	if err != nil {
		return err
	}
	if err := f.writeConfigs(); err != nil {
		stopped, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, f.server.Run(stopped))
	}
	return nil
}

// serverWithKeys is a broker that knows every device by a key.
func (f *fleet) serverWithKeys() (*devserver.Server, error) {
	operatorKey, err := devserver.UserKey(f.layout.operatorNKey())
	if err != nil {
		return nil, err
	}
	devices := make(map[contracts.DeviceID]string, len(f.members))
	for _, m := range f.members {
		if devices[m.id], err = devserver.UserKey(f.layout.device(m.id).nkey()); err != nil {
			return nil, err
		}
	}
	return devserver.New(devserver.Options{
		StoreDir: f.layout.store(),
		Host:     f.options.Host,
		Port:     f.options.Port,
		Operator: operatorKey,
		Devices:  devices,
		Sync:     true,
	})
}

func (f *fleet) writeConfigs() error {
	for _, m := range f.members {
		d, server, containers := f.layout.device(m.id), f.server.URL(), f.options.Containers
		write := func() error { return writeAgentConfig(m, d, server, f.signing, containers) }
		if f.options.Auth {
			write = func() error { return writeEnrollingConfig(m, d, server, containers) }
		}
		if err := write(); err != nil {
			return err
		}
	}
	return writeOperatorConfig(f.layout, f.server.URL(), f.options.Heartbeat)
}

// checkAddress says what to do when the broker cannot listen there.
func checkAddress(host string, port int) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	switch {
	case err == nil:
		return listener.Close()
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("the broker cannot listen on %s (%w): --host must be an address of this machine", host, err)
	}
	return fmt.Errorf("the broker cannot listen on %s, port %d (%w): choose another port with --port, or any free one with --port 0", host, port, err)
}

func (f *fleet) connect(ctx context.Context) (*nats.Conn, error) {
	return nats.Connect(ctx, nats.Config{
		Servers:    []string{f.server.URL()},
		Name:       "fleet dev",
		Credential: nats.SeedFile(f.layout.operatorNKey()),
		FailFast:   true,
	})
}

// register makes the streams, and the registry's records unless devices enroll.
func (f *fleet) register(ctx context.Context) error {
	conn, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := nats.Setup(ctx, conn, nats.SetupOptions{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return err
	}
	if f.options.Auth {
		return nil
	}
	registry := nats.NewDeviceRegistry(conn)
	for _, m := range f.members {
		_, err := registry.Create(ctx, domain.FleetDevice{
			ID:           m.id,
			Labels:       contracts.Labels{"site": m.site},
			RegisteredAt: time.Now(),
		})
		if err != nil && !errors.Is(err, domain.ErrAlreadyExists) {
			return err
		}
	}
	return nil
}

// announce says where everything is, on the terminal, in ready.json and as a
// context of the CLI. leave takes the last two back.
func (f *fleet) announce() (ready Ready, leave func() error, err error) {
	ready = Ready{Server: f.server.URL(), NKey: f.layout.operatorNKey(), Dir: f.layout.root}
	for _, m := range f.members {
		ready.Devices = append(ready.Devices, string(m.id))
	}
	f.printf("broker    %s (store %s)\n", ready.Server, f.layout.store())
	if f.options.NoOperator {
		f.printf("operator  not started (its configuration: %s)\n", f.layout.operatorConfig())
	} else {
		f.printf("operator  %s (log %s)\n", f.operator, f.layout.operatorLog())
	}
	f.printf("agents    %d on %s (logs %s)\n", len(f.members), strings.Join(f.options.Sites, ", "), f.layout.device("*").log())
	if f.options.Auth {
		f.printf("identity  %s (log %s)\n", f.identity, f.layout.identityLog())
		f.printf("callout   %s (log %s)\n", f.operator, f.layout.calloutLog())
	}
	if err := ready.write(f.layout.ready()); err != nil {
		return Ready{}, nil, fmt.Errorf("write %s: %w", f.layout.ready(), err)
	}
	if f.options.Contexts == nil {
		return ready, func() error { return os.Remove(f.layout.ready()) }, nil
	}
	err = f.options.Contexts.Save(contextName, contexts.Context{
		Server:            ready.Server,
		NKeyFile:          ready.NKey,
		HeartbeatInterval: contracts.Duration(f.options.Heartbeat),
	})
	if err != nil {
		return Ready{}, nil, err
	}
	return ready, func() error { return errors.Join(os.Remove(f.layout.ready()), f.leaveContext(ready)) }, nil
}

// leaveContext removes the context, unless another fleet has taken its name.
func (f *fleet) leaveContext(ready Ready) error {
	current, err := f.options.Contexts.Load(contextName)
	if errors.Is(err, domain.ErrNotFound) || err == nil && current.Server != ready.Server {
		return nil
	}
	return errors.Join(err, f.options.Contexts.Remove(contextName))
}
