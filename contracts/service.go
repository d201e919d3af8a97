package contracts

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// RestartPolicy says what happens when a service's main process ends.
type RestartPolicy string

// Restart policies. The empty policy means RestartAlways.
const (
	RestartAlways    RestartPolicy = "always"
	RestartOnFailure RestartPolicy = "on-failure"
	RestartNever     RestartPolicy = "no"
)

// Defaults of a score.
const (
	DefaultStopSignal  = "SIGTERM"
	DefaultGracePeriod = 30 * time.Second
	DefaultInitTimeout = 300 * time.Second

	maxServices = 64
	maxStrings  = 256
)

// Lifecycle says how a deployment's services are stopped.
type Lifecycle struct {
	// StopSignal is a signal's name; default SIGTERM.
	StopSignal string `json:"stopSignal,omitempty"`
	// GracePeriodSeconds is the time from the stop signal to SIGKILL, 0 to
	// 3600; default 30.
	GracePeriodSeconds *uint32 `json:"gracePeriodSeconds,omitempty"`
}

// Signal returns the stop signal's name, the default applied.
func (l Lifecycle) Signal() string {
	if l.StopSignal == "" {
		return DefaultStopSignal
	}
	return l.StopSignal
}

// GracePeriod returns the grace period, the default applied.
func (l Lifecycle) GracePeriod() time.Duration {
	if l.GracePeriodSeconds == nil {
		return DefaultGracePeriod
	}
	return time.Duration(*l.GracePeriodSeconds) * time.Second
}

// Validate checks the signal's name and the period.
func (l Lifecycle) Validate() error {
	switch l.StopSignal {
	case "", "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGKILL":
	default:
		return invalid("stopSignal", "%q is unknown: use SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH or SIGKILL", l.StopSignal)
	}
	if l.GracePeriodSeconds != nil && *l.GracePeriodSeconds > 3600 {
		return invalid("gracePeriodSeconds", "must be at most 3600")
	}
	return nil
}

// Validate accepts the three policies and the empty one.
func (r RestartPolicy) Validate() error {
	switch r {
	case "", RestartAlways, RestartOnFailure, RestartNever:
		return nil
	default:
		return invalid("", "%q is unknown: use always, on-failure or no", r)
	}
}

// OrDefault returns r, or RestartAlways when r is empty.
func (r RestartPolicy) OrDefault() RestartPolicy {
	if r == "" {
		return RestartAlways
	}
	return r
}

// checkEnv checks names alone. Values may be secrets and are never quoted.
func checkEnv(env map[string]string) error {
	if len(env) > maxStrings {
		return invalid("", "has %d variables, at most %d are allowed", len(env), maxStrings)
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !isEnvName(name) {
			// Beyond '=' there may be a value that slipped into the name.
			shown, _, _ := strings.Cut(name, "=")
			return invalid("", "variable name %q must be letters, digits and '_', not beginning with a digit", shown)
		}
		if strings.IndexByte(env[name], 0) >= 0 {
			return invalid(name, "must not hold a NUL byte")
		}
	}
	return nil
}

func isEnvName(s string) bool {
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && s[i] != '_' {
			return false
		}
	}
	return true
}

// checkNames checks that a list of services is not empty, not too long, and
// that each name is a DNS-1123 label and unique across all lists given.
func checkNames(field string, names []string, seen map[string]bool) error {
	if len(names) > maxServices {
		return invalid(field, "has %d entries, at most %d are allowed", len(names), maxServices)
	}
	for i, name := range names {
		if reason := checkLabel(name); reason != "" {
			return inItem(field, i, invalid("name", "%s", reason))
		}
		if seen[name] {
			return inItem(field, i, invalid("name", "%q is used twice", name))
		}
		seen[name] = true
	}
	return nil
}
