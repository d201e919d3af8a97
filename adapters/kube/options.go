package kube

import (
	"context"
	"log/slog"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// FieldManager owns what the reflector writes.
const FieldManager = "fleet-operator"

// Capabilities are where the fleet is read and deployments are declared. Link
// may be nil; all others must be set.
type Capabilities struct {
	Devices     domain.DeviceRegistry
	Deployments domain.DeploymentStore
	Statuses    domain.DeploymentStatusStore
	Observed    domain.ObservedStateConsumer
	Events      domain.EventLog
	// Link tells whether the fleet can be heard at all: while it cannot, no
	// device is called offline.
	Link domain.Link
}

// Options tune a Bridge. The zero value works but for Namespace.
type Options struct {
	// Namespace is where the fleet's resources are. One namespace is one fleet.
	Namespace string
	// QPS bounds the writes of devices per second. Default 50. Deployments, their
	// events and the lease have an allowance of their own, a fifth of it and at
	// least 10, so that devices that come back all at once hold no rollout up.
	QPS float64
	// Devices chooses the devices that are shown. Default: all.
	Devices DeviceFilter
	// HeartbeatInterval is what devices keep. Default 30s.
	HeartbeatInterval time.Duration
	// DeviceInterval is the least time between two writes of one device's
	// status. Default 5s.
	DeviceInterval time.Duration
	// DeploymentInterval is the same for deployments. Default 1s.
	DeploymentInterval time.Duration
	// SettleDelay is how long a change waits for others that belong to it.
	// Default 200ms.
	SettleDelay time.Duration
	// LeaseDuration is how long after its last sign of life a leader is followed
	// by another. Default 15s.
	LeaseDuration time.Duration
	// InspectInterval is how often a bridge looks whether definitions, namespace
	// and rights are still there. Default 10s.
	InspectInterval time.Duration
	// MetricsAddress serves Prometheus metrics; empty for none.
	MetricsAddress string
	// Logger takes what the bridge has to say. Default: nothing is logged.
	Logger *slog.Logger
}

const (
	defaultQPS      = 50
	leastQPS        = 10
	shareQPS        = 5
	defaultInterval = 5 * time.Second
)

func (o Options) withDefaults() Options {
	if o.QPS <= 0 {
		o.QPS = defaultQPS
	}
	defaultTo(&o.HeartbeatInterval, contracts.DefaultHeartbeatInterval.Std())
	defaultTo(&o.DeviceInterval, defaultInterval)
	defaultTo(&o.DeploymentInterval, time.Second)
	defaultTo(&o.SettleDelay, 200*time.Millisecond)
	defaultTo(&o.LeaseDuration, 15*time.Second)
	defaultTo(&o.InspectInterval, 10*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func defaultTo(value *time.Duration, fallback time.Duration) {
	if *value <= 0 {
		*value = fallback
	}
}

// sleep waits for d and reports whether ctx lasted as long.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
