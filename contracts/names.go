package contracts

import "fmt"

// maxNameLength is the longest DNS-1123 label, in bytes.
const maxNameLength = 63

// DeviceID names one device of a fleet. It is a DNS-1123 label of 1 to 63
// bytes, and so at once a NATS token, a Kubernetes object name and a hostname.
type DeviceID string

// DeploymentName names one deployment of a fleet. Same form as DeviceID.
type DeploymentName string

// ParseDeviceID checks s and returns it as a DeviceID. The error is a
// *FieldError for the field "deviceID".
func ParseDeviceID(s string) (DeviceID, error) {
	if reason := checkLabel(s); reason != "" {
		return "", &FieldError{Field: "deviceID", Reason: reason}
	}
	return DeviceID(s), nil
}

// ParseDeploymentName checks s and returns it as a DeploymentName. The error
// is a *FieldError for the field "name".
func ParseDeploymentName(s string) (DeploymentName, error) {
	if reason := checkLabel(s); reason != "" {
		return "", &FieldError{Field: "name", Reason: reason}
	}
	return DeploymentName(s), nil
}

// String returns the bare name.
func (d DeviceID) String() string { return string(d) }

// String returns the bare name.
func (d DeploymentName) String() string { return string(d) }

// Validate checks the form. A document with an invalid ID in it does not decode.
func (d DeviceID) Validate() error { return asReason(checkLabel(string(d))) }

// Validate checks the form. A document with an invalid name in it does not decode.
func (d DeploymentName) Validate() error { return asReason(checkLabel(string(d))) }

func asReason(reason string) error {
	if reason == "" {
		return nil
	}
	return &FieldError{Reason: reason}
}

// checkLabel returns why s is not a DNS-1123 label, or "" when it is one.
func checkLabel(s string) string {
	if s == "" {
		return "must not be empty"
	}
	if len(s) > maxNameLength {
		return fmt.Sprintf("must be at most %d bytes, has %d", maxNameLength, len(s))
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '-' && i > 0 && i < len(s)-1:
		default:
			return fmt.Sprintf("%q must be lower-case letters, digits and inner hyphens (DNS-1123 label)", s)
		}
	}
	return ""
}
