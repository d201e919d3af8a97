package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/health"
	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/metrics"
	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/policy"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

const (
	// Until the callout is back nobody else can connect.
	calloutReconnectWait   = 100 * time.Millisecond
	calloutReconnectJitter = 200 * time.Millisecond
	// rotationLease is held by the instance that has keys renewed.
	rotationLease = "fleet-rotation"
	// Files in the directory of --cache-dir.
	verifierCache = "zitadel-keys.json"
	operatorCache = "operator-token.json" //nolint:gosec // the file's name
)

// gatekeeper is everything that `fleet-operator callout` runs.
type gatekeeper struct {
	options  calloutOptions
	log      *slog.Logger
	conns    gateConns
	provider *zitadel.ZitadelIdentityProvider
	verifier *verifier.Verifier
	callout  *nats.Callout
	sync     *nats.SyncService
	enroll   *nats.EnrollmentService
	rotator  *enrollment.Rotator
	ready    atomic.Bool
}

// gateConns are its three connections to the broker, each of a user of its own.
type gateConns struct{ operator, auth, system *nats.Conn }

// runCallout is the whole life of one callout process.
func runCallout(ctx context.Context, o calloutOptions, version string, logs io.Writer) error {
	log := o.logger(logs)
	g, err := newGatekeeper(ctx, o, log)
	if err != nil {
		return err
	}
	defer g.close()
	log.Info("starting", slog.String("version", version), slog.String("identity", o.identity))
	err = g.run(ctx)
	log.Info("stopped")
	return err
}

func newGatekeeper(ctx context.Context, o calloutOptions, log *slog.Logger) (*gatekeeper, error) {
	g := &gatekeeper{options: o, log: log}
	if err := g.build(ctx); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *gatekeeper) build(ctx context.Context) error {
	o, log := g.options, g.log
	fleet, err := o.fleet()
	if err != nil {
		return err
	}
	approvals, err := policy.Open(o.policy, log)
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	keys, err := nats.LoadCalloutKeys(o.issuerSeedFile, o.exchangeFile)
	if err != nil {
		return err
	}
	if err := g.openProvider(ctx); err != nil {
		return err
	}
	if err := g.connect(ctx); err != nil {
		return err
	}
	devices, events := nats.NewDeviceRegistry(g.conns.operator), nats.NewEventLog(g.conns.operator)
	g.callout = nats.NewCallout(
		nats.CalloutConns{Auth: g.conns.auth, System: g.conns.system}, keys,
		enrollment.NewRouter(enrollment.NewVerifier(fleet.SigningKeys), g.verifier), devices, events,
		nats.CalloutOptions{
			Accounts: nats.Accounts{Fleet: o.account}, Workers: o.workers,
			Revoke: g.provider.Revoke, Restore: g.provider.Restore, Logger: log,
		})
	g.sync = nats.NewSyncService(g.conns.operator, nats.SyncOptions{Logger: log})
	engine := enrollment.New(enrollment.Capabilities{
		Intents: nats.NewEnrollmentStore(g.conns.operator), Devices: devices, Minter: g.provider, Events: events,
	}, fleet, enrollment.Options{KeyLifetime: o.keyLifetime, Policy: approvals.Rules, Logger: log})
	g.enroll = nats.NewEnrollmentService(g.conns.operator, engine, nats.EnrollmentServiceOptions{Logger: log})
	g.rotator = enrollment.NewRotator(
		nats.NewEnrollmentStore(g.conns.operator), nats.NewTokenIssuer(g.conns.operator), nats.NewCommandBus(g.conns.operator),
		enrollment.RotatorOptions{Logger: log})
	return nil
}

func (g *gatekeeper) openProvider(ctx context.Context) error {
	config, err := g.options.zitadel()
	if err != nil {
		return err
	}
	cache := func(name string) string {
		if g.options.cacheDir == "" {
			return ""
		}
		return filepath.Join(g.options.cacheDir, name)
	}
	if g.provider, err = zitadel.New(ctx, config, zitadel.Options{TokenCacheFile: cache(operatorCache), Logger: g.log}); err != nil {
		return err
	}
	g.verifier, err = verifier.New(verifier.Config{
		Issuer: config.Issuer, ProjectID: config.ProjectID, DevicePrefix: config.DevicePrefix,
	}, verifier.Options{CacheFile: cache(verifierCache), Logger: g.log})
	return err
}

func (g *gatekeeper) connect(ctx context.Context) (err error) {
	o := g.options
	open := func(what string, credential nats.Credential) *nats.Conn {
		if err != nil {
			return nil
		}
		var conn *nats.Conn
		conn, err = nats.Connect(ctx, nats.Config{
			Servers: o.servers, Name: "fleet-operator callout " + o.identity + " " + what, Credential: credential, CAFile: o.caFile,
			ReconnectWait: calloutReconnectWait, ReconnectJitter: calloutReconnectJitter, Logger: g.log,
		})
		return conn
	}
	g.conns.operator = open("operator", o.credential())
	g.conns.auth = open("auth", nats.SeedFile(o.calloutNKeyFile))
	g.conns.system = open("system", nats.SeedFile(o.systemNKeyFile))
	return err
}

func (g *gatekeeper) close() {
	for _, conn := range []*nats.Conn{g.conns.operator, g.conns.auth, g.conns.system} {
		if conn != nil {
			conn.Close()
		}
	}
	if g.provider != nil {
		_ = g.provider.Close() // nothing is under way any more
	}
}

func (g *gatekeeper) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if g.options.healthAddress != "" {
		listener, err := net.Listen("tcp", g.options.healthAddress)
		if err != nil {
			return fmt.Errorf("--health-address: %w", err)
		}
		group.Go(func() error {
			return health.Serve(ctx, listener, g.readiness, g.status, health.Page{Path: "/metrics", Handler: metrics.Handler(g.collect)})
		})
	}
	group.Go(func() error { return g.provider.Run(ctx) })
	group.Go(func() error { return g.verifier.Run(ctx) })
	group.Go(func() error { return g.watchLink(ctx, "operator", g.conns.operator) })
	group.Go(func() error {
		if err := g.awaitBroker(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		services, serving := errgroup.WithContext(ctx)
		services.Go(func() error { return g.callout.Run(serving) })
		services.Go(func() error { return g.sync.Run(serving) })
		services.Go(func() error { return g.enroll.Run(serving) })
		services.Go(func() error {
			elector := nats.NewElector(g.conns.operator, g.options.identity, nats.ElectorOptions{Lease: rotationLease, Logger: g.log})
			return elector.Lead(serving, g.rotator.Run)
		})
		services.Go(func() error {
			select {
			case <-g.callout.Serving():
				g.ready.Store(true)
				g.log.Info("admitting clients")
			case <-serving.Done():
			}
			return nil
		})
		return services.Wait()
	})
	return group.Wait()
}

// awaitBroker blocks until the fleet's buckets can be read: the operator makes
// them. It returns nil when ctx ends first.
func (g *gatekeeper) awaitBroker(ctx context.Context) error {
	devices := nats.NewDeviceRegistry(g.conns.operator)
	for ctx.Err() == nil {
		err := g.conns.operator.AwaitConnection(ctx)
		if err == nil {
			_, err = devices.Get(ctx, "none")
		}
		if err == nil || errors.Is(err, domain.ErrNotFound) || ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, domain.ErrUnavailable) {
			return err
		}
		g.log.Warn("the registry cannot be read yet", slog.String("error", err.Error()))
		select {
		case <-ctx.Done():
		case <-time.After(retryInterval):
		}
	}
	return nil
}

func (g *gatekeeper) watchLink(ctx context.Context, user string, conn *nats.Conn) error {
	return conn.Watch(ctx, func(state domain.LinkState) {
		switch {
		case state.Connected:
			g.log.Info("connected to the broker", slog.String("user", user), slog.String("server", state.Server))
		case state.Problem != "":
			g.log.Warn("not connected to the broker; the connection is tried again", slog.String("user", user), slog.String("error", state.Problem))
		}
	})
}

func (g *gatekeeper) readiness() (bool, string) {
	if g.ready.Load() {
		return true, "Serving"
	}
	return false, "Connecting"
}
