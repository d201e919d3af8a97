package contracts

// MaxHeartbeatBytes bounds the encoded heartbeat: it is the one message that a
// fleet at rest sends. The names of its fields are short for that reason.
const MaxHeartbeatBytes = 96

// maxCount keeps the two sequences of a heartbeat to ten digits.
const maxCount = 9_999_999_999

// Heartbeat says that a device is alive and how far it is.
type Heartbeat struct {
	// Sequence rises by one with every heartbeat of an agent's process.
	Sequence uint64 `json:"seq"`
	// AppliedGeneration is that of the last desired state acted upon.
	AppliedGeneration uint64 `json:"gen"`
	// ReportSequence is that of the last report sent.
	ReportSequence uint64 `json:"rep"`
	AgentVersion   string `json:"ver,omitempty"`
}

// Validate checks the bounds.
func (h Heartbeat) Validate() error {
	if h.Sequence > maxCount {
		return invalid("seq", "must be at most %d", uint64(maxCount))
	}
	if h.ReportSequence > maxCount {
		return invalid("rep", "must be at most %d", uint64(maxCount))
	}
	if h.AppliedGeneration > MaxGeneration {
		return invalid("gen", "must be at most %d", uint64(MaxGeneration))
	}
	return checkVersion("ver", h.AgentVersion)
}
