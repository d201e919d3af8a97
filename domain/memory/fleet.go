package memory

import (
	"context"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Fleet is the backend of one fleet. It is safe for concurrent use.
type Fleet struct {
	devices     *store[contracts.DeviceID, domain.FleetDevice]
	deployments *store[contracts.DeploymentName, domain.FleetDeployment]
	statuses    *store[contracts.DeploymentName, contracts.DeploymentStatus]
	enrollments *store[contracts.DeviceID, domain.EnrollmentIntent]
	desired     *store[contracts.DeviceID, []byte]
	observed    *store[observedKey, domain.Observation]
	events      eventLog

	// mu protects what follows and the links of all devices.
	mu       sync.Mutex
	stopped  bool
	since    time.Time
	links    map[contracts.DeviceID]*Device
	election election
}

// New returns an empty fleet whose backend is up.
func New() *Fleet {
	return &Fleet{
		devices:     newStore[contracts.DeviceID](cloneDevice, 1),
		deployments: newStore[contracts.DeploymentName](cloneDeployment, contracts.DeploymentHistory),
		statuses:    newStore[contracts.DeploymentName](cloneStatus, 1),
		enrollments: newStore[contracts.DeviceID](cloneEnrollment, 1),
		desired:     newStore[contracts.DeviceID](cloneBytes, 1),
		observed:    newStore[observedKey](cloneObservation, 1),
		events:      eventLog{bells: bells{}},
		since:       time.Now(),
		links:       map[contracts.DeviceID]*Device{},
		election:    election{bells: bells{}},
	}
}

// Stop takes the backend down until Start: every call gives ErrUnavailable,
// devices lose their links and leaders their leadership. What is stored stays.
// Watches that run go on after Start.
func (f *Fleet) Stop() { f.setStopped(true) }

// Start takes the backend up again. Devices are connected again, unless their
// own link is cut.
func (f *Fleet) Start() { f.setStopped(false) }

// Restart is Stop and Start.
func (f *Fleet) Restart() {
	f.Stop()
	f.Start()
}

func (f *Fleet) setStopped(stopped bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped == stopped {
		return
	}
	f.stopped = stopped
	f.since = time.Now()
	for _, device := range f.links {
		device.changed(f.since)
	}
	if stopped {
		f.election.depose(f.election.leader)
	}
	f.election.bells.ring()
}

// reach returns ErrUnavailable when the backend is down or ctx has ended.
func (f *Fleet) reach(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "the fleet's backend was not asked")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return domain.Errorf(domain.ErrUnavailable, "the fleet's backend is stopped")
	}
	return nil
}
