package nats

import "time"

// SetInterval makes the source ask at that mean interval.
func (s *DesiredStateSource) SetInterval(interval time.Duration) { s.interval = interval }
