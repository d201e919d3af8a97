package contracts

import "time"

// LeaseRecord says which operator leads, for operators outside Kubernetes.
type LeaseRecord struct {
	// Holder is the leading operator's identity.
	Holder     string    `json:"holder"`
	AcquiredAt time.Time `json:"acquiredAt"`
	// Renewals rises with every renewal: a follower takes over when it has
	// not changed for TTL in the follower's own clock.
	Renewals uint64   `json:"renewals"`
	TTL      Duration `json:"ttl"`
}

// Validate checks holder and TTL.
func (l LeaseRecord) Validate() error {
	if l.Holder == "" {
		return invalid("holder", "must not be empty")
	}
	if err := checkText("holder", l.Holder, maxText); err != nil {
		return err
	}
	return checkDuration("ttl", l.TTL, time.Second, time.Hour)
}
