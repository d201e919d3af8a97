package nats

// Limits bound what one client may ask of a broker.
type Limits struct {
	MaxSubscriptions int
	// The others are bytes: of a message, of what a client may leave unread, and
	// of one line of the protocol.
	MaxPayload     int
	MaxPending     int
	MaxControlLine int
}

// DefaultLimits are those that Conf sets, for where something else writes the
// configuration.
func DefaultLimits() Limits {
	return Limits{
		MaxSubscriptions: defaultMaxSubscriptions, MaxPayload: defaultMaxPayload,
		MaxPending: defaultMaxPending, MaxControlLine: maxControlLine,
	}
}
