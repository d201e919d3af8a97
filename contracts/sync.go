package contracts

// SyncRequest asks for a device's current desired state. The reply is the
// encoded Signed envelope, or empty when there is none newer.
type SyncRequest struct {
	// Generation is that of the desired state held; 0 for none.
	Generation uint64 `json:"generation"`
}

// Validate checks the bound.
func (r SyncRequest) Validate() error {
	if r.Generation > MaxGeneration {
		return invalid("generation", "must be at most %d", uint64(MaxGeneration))
	}
	return nil
}
