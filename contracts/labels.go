package contracts

import (
	"maps"
	"slices"
	"strings"
)

const (
	// ReportedLabelPrefix marks labels that a device asserts about itself. A
	// person's label may not begin with it, so a selector's author always sees
	// which labels a hostile device could choose.
	ReportedLabelPrefix = "device.fleet.nationtech.io/"
	// DeviceLabel is set by the system on every device to its own ID, so that
	// a selector can name a single device. Nobody else may set it.
	DeviceLabel = "fleet.nationtech.io/device"

	maxLabels = 64
)

// Labels are key/value pairs in the Kubernetes label syntax.
type Labels map[string]string

// Validate checks every key and value.
func (l Labels) Validate() error {
	if len(l) > maxLabels {
		return invalid("", "has %d labels, at most %d are allowed", len(l), maxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(l)) {
		if err := checkLabelKey(key); err != nil {
			return err
		}
		if err := checkLabelValue(l[key]); err != nil {
			return in(key, err)
		}
	}
	return nil
}

// checkLabelKey accepts [prefix/]name: prefix a DNS-1123 subdomain of at most
// 253 bytes, name 1 to 63 bytes of letters, digits, '-', '_' and '.'.
func checkLabelKey(key string) error {
	prefix, name, found := strings.Cut(key, "/")
	if !found {
		name = key
	} else if !isSubdomain(prefix) {
		return invalid("", "label key %q: the part before '/' must be a DNS name in lower case, at most 253 bytes", key)
	}
	if name == "" || !isQualifiedName(name) {
		return invalid("", "label key %q: the name must be 1 to 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit", key)
	}
	return nil
}

func checkLabelValue(value string) error {
	if value != "" && !isQualifiedName(value) {
		return invalid("", "label value %q must be at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit", value)
	}
	return nil
}

func isQualifiedName(s string) bool {
	if s == "" || len(s) > maxNameLength || !isAlphanumeric(s[0]) || !isAlphanumeric(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func isSubdomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if checkSubdomainLabel(label) {
			continue
		}
		return false
	}
	return true
}

// checkSubdomainLabel is checkLabel without the 63-byte limit: Kubernetes
// bounds only the whole subdomain.
func checkSubdomainLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
