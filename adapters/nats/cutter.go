package nats

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	defaultPerDevice = 8
	defaultLookEvery = 10 * time.Minute
	cutRetry         = time.Second
	// fewDevices are looked for one by one; more by a look at all connections.
	fewDevices = 4
	// fewKicks are so many connections that are ended at the same time.
	fewKicks = 16
)

// cutRounds are how long after each other a device is looked for: a broker may
// be admitting it at this very moment, on the word of an instance that has not
// heard yet.
func cutRounds() []time.Duration {
	return []time.Duration{time.Second, 3 * time.Second, 20 * time.Second}
}

// brokerConnection is one connection to one server.
type brokerConnection struct {
	server string
	id     uint64
	user   string
	since  time.Time
}

// connectionLister finds and ends connections, on all servers.
type connectionLister interface {
	// list returns the connections of a user, or of all users for "".
	list(ctx context.Context, user string) ([]brokerConnection, error)
	end(ctx context.Context, connection brokerConnection) error
}

type cutterOptions struct {
	perDevice int
	every     time.Duration
	log       *slog.Logger
}

// cutter ends the connections of devices that may not connect.
type cutter struct {
	broker  connectionLister
	access  *accessList
	options cutterOptions

	disconnected atomic.Uint64
	wake         chan struct{}

	mu sync.Mutex
	// due are the devices to look for, and lookAt is when to look at all.
	due    map[contracts.DeviceID]cutDue
	lookAt time.Time
}

// cutDue is when a device is looked for, and how often it was.
type cutDue struct {
	at    time.Time
	round int
}

func newCutter(broker connectionLister, access *accessList, options cutterOptions) *cutter {
	return &cutter{
		broker: broker, access: access, options: options,
		wake: make(chan struct{}, 1), due: map[contracts.DeviceID]cutDue{},
	}
}

// cut has a device disconnected. It does not block.
func (c *cutter) cut(device contracts.DeviceID) {
	c.mu.Lock()
	c.due[device] = cutDue{at: time.Now()}
	c.mu.Unlock()
	c.wakeUp()
}

// lookAtAll has all connections looked at. It does not block.
func (c *cutter) lookAtAll() {
	c.mu.Lock()
	c.lookAt = time.Now()
	c.mu.Unlock()
	c.wakeUp()
}

func (c *cutter) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run ends connections until ctx is cancelled. It begins once the list is
// known.
func (c *cutter) run(ctx context.Context, known <-chan struct{}) error {
	select {
	case <-known:
	case <-ctx.Done():
		return nil
	}
	for {
		timer := time.NewTimer(c.untilNext(time.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-c.wake:
			timer.Stop()
		case <-timer.C:
		}
		c.work(ctx)
	}
}

func (c *cutter) untilNext(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.lookAt
	for _, due := range c.due {
		if due.at.Before(next) {
			next = due.at
		}
	}
	return max(0, next.Sub(now))
}

// work looks for the devices that are due.
func (c *cutter) work(ctx context.Context) {
	began := time.Now()
	devices, all := c.takeDue(began)
	if len(devices) == 0 && !all {
		return
	}
	err := c.disconnect(ctx, devices, all)
	if err != nil && ctx.Err() == nil {
		c.options.log.Warn("devices without access could not be disconnected, which is tried again",
			slog.Int("devices", len(devices)), slog.String("error", err.Error()))
	}
	c.plan(devices, all, began, err == nil)
}

func (c *cutter) takeDue(now time.Time) (devices []contracts.DeviceID, all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for device, due := range c.due {
		if !due.at.After(now) {
			devices = append(devices, device)
		}
	}
	return devices, !c.lookAt.After(now)
}

// plan says when the devices are looked for again. A device that was cut anew
// meanwhile stays due.
func (c *cutter) plan(devices []contracts.DeviceID, all bool, began time.Time, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	rounds := cutRounds()
	for _, device := range devices {
		due := c.due[device]
		switch {
		case due.at.After(began):
		case !done:
			c.due[device] = cutDue{at: now.Add(cutRetry), round: due.round}
		case due.round >= len(rounds) || c.access.permits(device):
			delete(c.due, device)
		default:
			c.due[device] = cutDue{at: now.Add(rounds[due.round]), round: due.round + 1}
		}
	}
	if all && !c.lookAt.After(began) {
		c.lookAt = now.Add(c.options.every)
		if !done {
			c.lookAt = now.Add(cutRetry)
		}
	}
}

// disconnect ends what the devices hold, and with all what any device holds
// that it should not.
func (c *cutter) disconnect(ctx context.Context, devices []contracts.DeviceID, all bool) error {
	if all || len(devices) > fewDevices {
		found, err := c.broker.list(ctx, "")
		if err != nil {
			return err
		}
		return c.end(ctx, c.unwanted(found))
	}
	for _, device := range devices {
		found, err := c.broker.list(ctx, deviceUser(device))
		if err != nil {
			return err
		}
		if err := c.end(ctx, c.unwanted(found)); err != nil {
			return err
		}
	}
	return nil
}

// unwanted returns the connections of devices without access, and the oldest of
// those that hold too many, enrolling devices among them.
func (c *cutter) unwanted(found []brokerConnection) []brokerConnection {
	var unwanted []brokerConnection
	byUser := map[string][]brokerConnection{}
	for _, connection := range found {
		device, ok := userDevice(connection.user)
		switch {
		case !limited(connection.user):
		case ok && !c.access.permits(device):
			unwanted = append(unwanted, connection)
		default:
			byUser[connection.user] = append(byUser[connection.user], connection)
		}
	}
	for _, user := range slices.Sorted(maps.Keys(byUser)) {
		held := byUser[user]
		if excess := len(held) - c.options.perDevice; excess > 0 {
			slices.SortFunc(held, func(a, b brokerConnection) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.id, b.id)) })
			unwanted = append(unwanted, held[:excess]...)
			c.options.log.Warn("a device holds too many connections: the oldest are ended",
				slog.String("user", user), slog.Int("connections", len(held)))
		}
	}
	return unwanted
}
