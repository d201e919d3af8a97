package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	stormDevices = 5000
	// stormJitter is shorter than that of real devices: the broker shall be the
	// one that is waited for.
	stormJitter  = time.Second
	stormAtOnce  = 64
	revokeBound  = 5.0
	connectLimit = 5 * time.Minute
)

// storm measures how fast a fleet is back after its broker was restarted, with
// the callout and without, and how fast a revoked device is out.
func (b *bench) storm(ctx context.Context, dir string) error {
	plain, err := b.stormOn(ctx, filepath.Join(dir, "plain"), false)
	if err != nil {
		return err
	}
	through, err := b.stormOn(ctx, filepath.Join(dir, "callout"), true)
	if err != nil {
		return err
	}
	b.figure("  ratio", "%.2f of the broker without a callout", through/plain)
	return nil
}

func (b *bench) stormOn(ctx context.Context, dir string, callout bool) (perSecond float64, err error) {
	s, err := newStormBroker(ctx, dir, callout)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	devices, err := s.connectAll(ctx)
	defer closeAll(devices)
	if err != nil {
		return 0, err
	}
	issued := s.tokens.issued.Load()
	if err := s.stopBroker(); err != nil {
		return 0, err
	}
	for _, device := range devices {
		if err := awaitDown(ctx, device); err != nil {
			return 0, err
		}
	}
	used := ownCPU()
	began := time.Now()
	if err := s.startBroker(ctx); err != nil {
		return 0, err
	}
	back := 0
	for _, device := range devices {
		limited, cancel := context.WithTimeout(ctx, connectLimit)
		if device.AwaitConnection(limited) == nil {
			back++
		}
		cancel()
	}
	took := time.Since(began)
	perSecond = float64(back) / took.Seconds()
	if !callout {
		b.figure(fmt.Sprintf("%d devices back at a restarted broker", back), "%.0f/s in %.2f s", perSecond, took.Seconds())
		return perSecond, nil
	}
	b.figure(fmt.Sprintf("%d devices back through the callout", back), "%.0f/s in %.2f s, %.2f ms of processor time each, in broker, callout and devices",
		perSecond, took.Seconds(), (ownCPU()-used).Seconds()*1000/float64(max(back, 1)))
	b.most("  shut out", "devices", float64(len(devices)-back), 0)
	b.most("  tokens asked of the provider", "tokens", float64(s.tokens.issued.Load()-issued), 0)
	b.figure("  callout", "%d admitted, %d denied, %d too late", s.callout.Stats().Admitted[domain.RoleDevice], denials(s.callout.Stats()), s.callout.Stats().Late)
	return perSecond, b.revocation(ctx, s, devices[0])
}

func denials(stats nats.CalloutStats) (sum uint64) {
	for _, count := range stats.Denied {
		sum += count
	}
	return sum
}

// revocation measures, with the fleet connected, from the decision to the
// disconnection and to a refusal.
func (b *bench) revocation(ctx context.Context, s *stormBroker, device *nats.Conn) error {
	began := time.Now()
	_, err := domain.UpdateDevice(ctx, s.registry, stormDevice(0), func(d *domain.FleetDevice) error {
		d.Revoked = true
		return nil
	})
	if err != nil {
		return err
	}
	if err := awaitDown(ctx, device); err != nil {
		return err
	}
	down := time.Since(began)
	again, err := s.connect(ctx, 0, true)
	if err == nil {
		again.Close()
		return errors.New("a revoked device was admitted")
	}
	if !errors.Is(err, domain.ErrUnauthenticated) {
		return fmt.Errorf("a revoked device was not refused: %w", err)
	}
	b.figure("revoked device disconnected", "%.2f s", down.Seconds())
	b.most("revoked device disconnected and refused", "s", time.Since(began).Seconds(), revokeBound)
	return nil
}

func stormDevice(i int) contracts.DeviceID { return contracts.DeviceID(fmt.Sprintf("d-%05d", i)) }

// connectAll connects the whole fleet and returns once all are.
func (s *stormBroker) connectAll(ctx context.Context) ([]*nats.Conn, error) {
	devices := make([]*nats.Conn, stormDevices)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(stormAtOnce)
	for i := range devices {
		group.Go(func() error {
			conn, err := s.connect(groupCtx, i, false)
			if err != nil {
				return err
			}
			devices[i] = conn
			limited, cancel := context.WithTimeout(groupCtx, connectLimit)
			defer cancel()
			return conn.AwaitConnection(limited)
		})
	}
	return devices, group.Wait()
}

func closeAll(devices []*nats.Conn) {
	group := errgroup.Group{}
	group.SetLimit(stormAtOnce)
	for _, device := range devices {
		if device != nil {
			group.Go(func() error { device.Close(); return nil })
		}
	}
	_ = group.Wait()
}

// awaitDown waits until a connection is lost.
func awaitDown(ctx context.Context, conn *nats.Conn) error {
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	down := false
	err := conn.Watch(limited, func(state domain.LinkState) {
		if !state.Connected {
			down = true
			cancel()
		}
	})
	if err == nil && !down {
		err = errors.New("a connection is not lost within a minute")
	}
	return err
}
