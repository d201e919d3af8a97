package nats

import (
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// admissionsPerMinute is how often one device may connect within a minute, at
// each instance. An honest one waits five seconds on average between attempts,
// and at most two of its processes connect at a time.
const admissionsPerMinute = 60

// admissionLimit keeps one device from taking all the broker's connections.
type admissionLimit struct {
	mu       sync.Mutex
	began    time.Time
	admitted map[contracts.DeviceID]int
}

func newAdmissionLimit() *admissionLimit {
	return &admissionLimit{admitted: map[contracts.DeviceID]int{}}
}

func (l *admissionLimit) allows(device contracts.DeviceID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.began) >= time.Minute {
		clear(l.admitted)
		l.began = now
	}
	l.admitted[device]++
	return l.admitted[device] <= admissionsPerMinute
}
