package contracts

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// maxPublicKey bounds a public key in PEM, in bytes.
const maxPublicKey = 4096

// DeviceRecord is a registered device: what people and the enrollment decide
// about it. What the device says about itself is elsewhere.
type DeviceRecord struct {
	ID DeviceID `json:"id"`
	// Labels are set by people.
	Labels Labels `json:"labels,omitempty"`
	// PublicKey is the enrolled key in PKIX PEM, empty before enrollment.
	PublicKey string `json:"publicKey,omitempty"`
	// Revoked devices are refused by the broker and left out of every rollout.
	Revoked      bool      `json:"revoked,omitempty"`
	RegisteredAt time.Time `json:"registeredAt"`
}

// Validate checks the ID, the labels and the key's length.
func (d DeviceRecord) Validate() error {
	if err := d.ID.Validate(); err != nil {
		return in("id", err)
	}
	if err := CheckPeoplesLabels(d.Labels); err != nil {
		return in("labels", err)
	}
	return checkText("publicKey", d.PublicKey, maxPublicKey)
}

// CheckPeoplesLabels checks labels that a person sets on a device: besides the
// syntax, the names that devices and the system use are refused.
func CheckPeoplesLabels(labels Labels) error {
	if err := labels.Validate(); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if strings.HasPrefix(key, ReportedLabelPrefix) {
			return invalid("", "label key %q: %s… is what devices say about themselves and cannot be set", key, ReportedLabelPrefix)
		}
		if key == DeviceLabel {
			return invalid("", "label key %q is set by the system to the device's ID", key)
		}
	}
	return nil
}

// EffectiveLabels are the labels that selectors see: people's labels, the
// reported ones below ReportedLabelPrefix, and DeviceLabel. A reported key with
// a prefix of its own is left out.
func EffectiveLabels(id DeviceID, peoples, reported Labels) Labels {
	all := make(Labels, len(peoples)+len(reported)+1)
	for key, value := range reported {
		if !strings.Contains(key, "/") {
			all[ReportedLabelPrefix+key] = value
		}
	}
	for key, value := range peoples {
		if !strings.HasPrefix(key, ReportedLabelPrefix) {
			all[key] = value
		}
	}
	all[DeviceLabel] = string(id)
	return all
}
