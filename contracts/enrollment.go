package contracts

import (
	"slices"
	"time"
)

// EnrollmentState is how far an enrollment is.
type EnrollmentState string

// The closed list of enrollment states.
const (
	EnrollmentPending  EnrollmentState = "Pending"  // waits for the device
	EnrollmentReview   EnrollmentState = "Review"   // the device asked; waits for a person
	EnrollmentApproved EnrollmentState = "Approved" // the device may collect its credential
	EnrollmentDenied   EnrollmentState = "Denied"   // a person said no
	EnrollmentDone     EnrollmentState = "Done"     // the device has its credential
)

// EnrollmentIntent expects one device.
type EnrollmentIntent struct {
	Device DeviceID `json:"device"`
	// Labels are given to the device when it is enrolled.
	Labels Labels          `json:"labels,omitempty"`
	State  EnrollmentState `json:"state"`
	// TokenHash is the SHA-256 of the one-time token, in hex; the token itself
	// is never stored.
	TokenHash string    `json:"tokenHash"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	// PublicKey is what the device sent, in PKIX PEM. From then on the intent is
	// for that key alone.
	PublicKey string `json:"publicKey,omitempty"`
	Reason    string `json:"reason,omitempty"`
	// UserID, KeyID and KeyExpiresAt are the device's identity at the provider,
	// once it has one.
	UserID       string    `json:"userID,omitempty"`
	KeyID        string    `json:"keyID,omitempty"`
	KeyExpiresAt time.Time `json:"keyExpiresAt,omitzero"`
	// BusyUntil is until when whoever makes the device's identity has it for
	// itself: two at a time would remove each other's keys.
	BusyUntil time.Time `json:"busyUntil,omitzero"`
}

// EnrollRequest is what a device without identity sends.
type EnrollRequest struct {
	Device DeviceID `json:"device"`
	Token  string   `json:"token"`
	// PublicKey is PKIX PEM; its private half never leaves the device.
	PublicKey string    `json:"publicKey"`
	Inventory Inventory `json:"inventory"`
}

// EnrollReply answers an EnrollRequest.
type EnrollReply struct {
	State      EnrollmentState   `json:"state"`
	Reason     string            `json:"reason,omitempty"`
	Credential *DeviceCredential `json:"credential,omitempty"`
}

// DeviceCredential is what an enrolled device needs to connect, beside its own
// private key. It holds no secret.
type DeviceCredential struct {
	Issuer    string   `json:"issuer"`
	ProjectID string   `json:"projectID"`
	UserID    string   `json:"userID"`
	KeyID     string   `json:"keyID"`
	Servers   []string `json:"servers"`
	// ServerCA is the PEM of a private certificate authority, if there is one.
	ServerCA string `json:"serverCA,omitempty"`
	// SigningKeys are the fleet's public keys, in the form of FormatPublicKey.
	SigningKeys []string `json:"signingKeys"`
	// KeyExpiresAt is when the device's key stops being accepted.
	KeyExpiresAt time.Time `json:"keyExpiresAt,omitzero"`
}

// Validate checks names, state, hash and lengths.
func (e EnrollmentIntent) Validate() error {
	if err := e.Device.Validate(); err != nil {
		return in("device", err)
	}
	if err := CheckPeoplesLabels(e.Labels); err != nil {
		return in("labels", err)
	}
	if err := e.State.Validate(); err != nil {
		return in("state", err)
	}
	if !isLowerHex(e.TokenHash, 64) {
		return invalid("tokenHash", "must be 64 hexadecimal digits in lower case")
	}
	if err := checkText("publicKey", e.PublicKey, maxPublicKey); err != nil {
		return err
	}
	if err := checkText("userID", e.UserID, maxText); err != nil {
		return err
	}
	if err := checkText("keyID", e.KeyID, maxText); err != nil {
		return err
	}
	return checkText("reason", e.Reason, MaxMessageBytes)
}

// Validate accepts the states of the closed list.
func (s EnrollmentState) Validate() error {
	known := []EnrollmentState{EnrollmentPending, EnrollmentReview, EnrollmentApproved, EnrollmentDenied, EnrollmentDone}
	if slices.Contains(known, s) {
		return nil
	}
	return invalid("", "%q is not a known enrollment state", s)
}

// Validate checks names and lengths. The token's text is never in the error.
func (r EnrollRequest) Validate() error {
	if err := r.Device.Validate(); err != nil {
		return in("device", err)
	}
	if r.Token == "" || len(r.Token) > 1024 {
		return invalid("token", "must be 1 to 1024 bytes")
	}
	if r.PublicKey == "" {
		return invalid("publicKey", "must not be empty")
	}
	if err := checkText("publicKey", r.PublicKey, maxPublicKey); err != nil {
		return err
	}
	return in("inventory", r.Inventory.validate())
}

// Validate checks the state, the reason's length and, when there is one, the credential.
func (r EnrollReply) Validate() error {
	if err := r.State.Validate(); err != nil {
		return in("state", err)
	}
	if err := checkText("reason", r.Reason, MaxMessageBytes); err != nil {
		return err
	}
	if r.Credential == nil {
		return nil
	}
	return in("credential", r.Credential.Validate())
}

// Validate checks that a device could connect with it.
func (c DeviceCredential) Validate() error {
	required := []struct{ field, value string }{
		{"issuer", c.Issuer},
		{"userID", c.UserID},
		{"keyID", c.KeyID},
	}
	for _, text := range required {
		if text.value == "" {
			return invalid(text.field, "must not be empty")
		}
	}
	if len(c.Servers) == 0 {
		return invalid("servers", "must hold at least one URL")
	}
	for i, server := range c.Servers {
		if server == "" {
			return inItem("servers", i, invalid("", "must not be empty"))
		}
	}
	if len(c.SigningKeys) == 0 {
		return invalid("signingKeys", "must hold at least one key")
	}
	for i, key := range c.SigningKeys {
		if _, err := ParsePublicKey(key); err != nil {
			return inItem("signingKeys", i, err)
		}
	}
	return nil
}
