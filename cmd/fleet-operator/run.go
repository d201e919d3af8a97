package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/health"
	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/keys"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
	"github.com/nationtech/harmony-fleet/domain/operator"
)

// retryInterval is how long to wait before asking a busy broker again.
const retryInterval = time.Second

// run is the whole life of one operator process.
func run(ctx context.Context, o options, version string, logs io.Writer) error {
	log := o.logger(logs)
	key, err := keys.Load(o.signingKeyFile)
	if err != nil {
		return err
	}
	conn, err := nats.Connect(ctx, nats.Config{
		Servers:    o.servers,
		Name:       "fleet-operator " + o.identity,
		Credential: o.credential(),
		CAFile:     o.caFile,
		// A few operators are no storm.
		ReconnectJitter: reconnectJitter,
		Logger:          log,
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	log.Info("starting", slog.String("version", version), slog.String("identity", o.identity))

	engine := operator.New(operator.Capabilities{
		Devices:     nats.NewDeviceRegistry(conn),
		Deployments: nats.NewDeploymentStore(conn),
		Statuses:    nats.NewDeploymentStatusStore(conn),
		Desired:     nats.NewDesiredStatePublisher(conn),
		Observed:    nats.NewObservedStateConsumer(conn),
		Commands:    nats.NewCommandBus(conn),
		Events:      nats.NewEventLog(conn),
	}, key, operator.Options{HeartbeatInterval: o.heartbeatInterval, Logger: log})

	bridge, err := newBridge(conn, o, log)
	if err != nil {
		return err
	}

	var prepared atomic.Bool
	group, ctx := errgroup.WithContext(ctx)
	if o.healthAddress != "" {
		listener, err := net.Listen("tcp", o.healthAddress)
		if err != nil {
			return fmt.Errorf("--health-address: %w", err)
		}
		group.Go(func() error {
			return health.Serve(ctx, listener,
				func() (bool, string) {
					ready, word := readiness(prepared.Load(), engine.Status().Phase)
					return ready, word + kubernetesWord(bridge)
				},
				statusOf(engine, bridge))
		})
	}
	group.Go(func() error {
		return conn.Watch(ctx, func(state domain.LinkState) {
			switch {
			case state.Connected:
				log.Info("connected to the broker", slog.String("server", state.Server))
			case state.Problem != "":
				log.Warn("not connected to the broker; the connection is tried again", slog.String("error", state.Problem))
			}
		})
	})
	group.Go(func() error {
		if err := prepare(ctx, conn, o, log); err != nil || ctx.Err() != nil {
			return err
		}
		prepared.Store(true)
		group.Go(func() error { return nats.NewSyncService(conn, nats.SyncOptions{Logger: log}).Run(ctx) })
		// Enrollment tokens are made where the signing key is, and nowhere else.
		group.Go(func() error { return nats.NewTokenService(conn, enrollment.NewIssuer(key)).Run(ctx) })
		if bridge != nil {
			group.Go(func() error { return bridge.Run(ctx) })
		}
		return nats.NewElector(conn, o.identity, nats.ElectorOptions{TTL: o.leaseTTL, Logger: log}).Lead(ctx, engine.Run)
	})
	err = group.Wait()
	log.Info("stopped")
	return err
}

// prepare makes or verifies the fleet's streams, as soon as the broker can be
// reached. It returns nil when ctx ends first.
func prepare(ctx context.Context, conn *nats.Conn, o options, log *slog.Logger) error {
	for ctx.Err() == nil {
		err := conn.AwaitConnection(ctx)
		if err == nil {
			err = nats.Setup(ctx, conn, nats.SetupOptions{Replicas: o.replicas, Fix: o.fixStreams, Logger: log})
		}
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, domain.ErrUnavailable) {
			return fmt.Errorf("the broker's streams: %w", err)
		}
		log.Warn("the broker's streams cannot be verified yet", slog.Any("error", err))
		select {
		case <-ctx.Done():
		case <-time.After(retryInterval):
		}
	}
	return nil
}

// readiness says whether to send work here: a follower is ready, because it
// answers devices and can take over.
func readiness(prepared bool, phase operator.Phase) (bool, string) {
	switch {
	case !prepared:
		return false, "Connecting"
	case phase == operator.PhaseRecovering:
		return false, string(phase)
	default:
		return true, string(phase)
	}
}
