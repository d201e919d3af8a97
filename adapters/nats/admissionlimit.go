package nats

import (
	"sync"
	"time"
)

// admissionsPerMinute is how often one device, or the holder of one device's
// enrollment token, may connect within a minute, at
// each instance. An honest one waits five seconds on average between attempts,
// and at most two of its processes connect at a time.
const admissionsPerMinute = 60

// admissionLimit keeps one device from taking all the broker's connections.
type admissionLimit struct {
	mu    sync.Mutex
	began time.Time
	// admitted are users as admission names them.
	admitted map[string]int
}

func newAdmissionLimit() *admissionLimit {
	return &admissionLimit{admitted: map[string]int{}}
}

func (l *admissionLimit) allows(user string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.began) >= time.Minute {
		clear(l.admitted)
		l.began = now
	}
	l.admitted[user]++
	return l.admitted[user] <= admissionsPerMinute
}
