package contracts

import (
	"encoding/json"
	"math"
	"time"
)

// Duration is a time.Duration written as a Go duration string ("30s", "1h30m").
type Duration time.Duration

// malformed marks text that is not a duration. It is kept until the document
// is validated, so that the error can name the field.
const malformed = Duration(math.MinInt64)

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns the Go form, such as "1m30s".
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes the Go duration string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a Go duration string. A bare number is refused by the
// document's Validate, because its unit would be a guess. A null changes nothing.
func (d *Duration) UnmarshalJSON(data []byte) error {
	if isNull(data) {
		return nil
	}
	*d = malformed
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return nil //nolint:nilerr // reported by Validate, with the field's path
	}
	if parsed, err := time.ParseDuration(s); err == nil {
		*d = Duration(parsed)
	}
	return nil
}

// checkDuration returns an error for field unless least <= d <= most.
func checkDuration(field string, d Duration, least, most time.Duration) error {
	if d == malformed {
		return invalid(field, "must be a duration with a unit, such as \"30s\" or \"10m\"")
	}
	if d.Std() < least || d.Std() > most {
		return invalid(field, "%s is out of range: must be from %s to %s", d, least, most)
	}
	return nil
}
