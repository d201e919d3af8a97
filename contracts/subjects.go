package contracts

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Subjects of a fleet. A device may publish and subscribe only where its own
// ID is a token of the subject; see docs/security.md for the permissions.
const (
	subjectDesired   = "fleet.desired."
	subjectSync      = "fleet.sync."
	subjectReport    = "fleet.report."
	subjectHeartbeat = "fleet.heartbeat."
	subjectEvents    = "fleet.events."
	subjectCommands  = "device-commands."
	inboxPrefix      = "_INBOX_"
	enrollmentInbox  = "_INBOX__ENROLL_"

	// EnrollSubject takes the enrollment requests of devices that have no
	// identity yet.
	EnrollSubject = "fleet.enroll"
	// EnrollTokenSubject takes requests for enrollment tokens. Whoever may
	// publish here may invite devices: the operator's role alone.
	EnrollTokenSubject = "fleet.enroll-token"
	// AllDesired matches the live desired state of every device.
	AllDesired = subjectDesired + "*"
	// AllSyncs matches every catch-up request.
	AllSyncs = subjectSync + "*"
	// AllReports matches every info and state report.
	AllReports = subjectReport + "*.*"
	// AllHeartbeats matches every heartbeat.
	AllHeartbeats = subjectHeartbeat + "*"
	// AllEvents matches every event.
	AllEvents = subjectEvents + "*.*"
)

// ReportKind is the last token of a report subject.
type ReportKind string

// The two reports of a device.
const (
	ReportInfo  ReportKind = "info"
	ReportState ReportKind = "state"
)

// DesiredSubject carries a device's desired state once it is stored.
func DesiredSubject(device DeviceID) string { return subjectDesired + string(device) }

// SyncSubject takes a device's request for its current desired state.
func SyncSubject(device DeviceID) string { return subjectSync + string(device) }

// ReportSubject takes a device's report of the given kind.
func ReportSubject(device DeviceID, kind ReportKind) string {
	return subjectReport + string(device) + "." + string(kind)
}

// ReportsSubject matches every report of one device.
func ReportsSubject(device DeviceID) string { return subjectReport + string(device) + ".>" }

// HeartbeatSubject takes a device's heartbeats.
func HeartbeatSubject(device DeviceID) string { return subjectHeartbeat + string(device) }

// EventSubject takes the events of one kind about one device or deployment.
func EventSubject(kind EventKind, about string) string {
	return subjectEvents + string(kind) + "." + about
}

// CommandSubject takes requests of one verb to one device.
func CommandSubject(device DeviceID, verb Verb) string {
	return subjectCommands + string(device) + "." + string(verb)
}

// CommandsSubject matches every command to one device.
func CommandsSubject(device DeviceID) string { return subjectCommands + string(device) + ".>" }

// InboxPrefix is the private prefix under which a device receives replies. No
// other device may subscribe below it.
func InboxPrefix(device DeviceID) string { return inboxPrefix + string(device) }

// EnrollmentInboxPrefix is the private prefix under which the holder of an
// enrollment token receives the answer. It is a hash of the token: nobody else
// can guess it, and it does not reveal the token.
func EnrollmentInboxPrefix(token string) string {
	sum := sha256.Sum256([]byte(token))
	return enrollmentInbox + hex.EncodeToString(sum[:16])
}

// ParseSyncSubject returns the device of a catch-up request.
func ParseSyncSubject(subject string) (DeviceID, error) { return parseDevice(subject, subjectSync) }

// ParseHeartbeatSubject returns the device of a heartbeat.
func ParseHeartbeatSubject(subject string) (DeviceID, error) {
	return parseDevice(subject, subjectHeartbeat)
}

// ParseDesiredSubject returns the device of a live desired state.
func ParseDesiredSubject(subject string) (DeviceID, error) {
	return parseDevice(subject, subjectDesired)
}

// ParseReportSubject returns the device and the kind of a report.
func ParseReportSubject(subject string) (DeviceID, ReportKind, error) {
	device, kind, err := parsePair(subject, subjectReport)
	if err != nil {
		return "", "", err
	}
	switch k := ReportKind(kind); k {
	case ReportInfo, ReportState:
		return device, k, nil
	default:
		return "", "", invalid("subject", "%q is not a report subject: the kind must be info or state", subject)
	}
}

// ParseCommandSubject returns the device and the verb of a command.
func ParseCommandSubject(subject string) (DeviceID, Verb, error) {
	device, name, err := parsePair(subject, subjectCommands)
	if err != nil {
		return "", "", err
	}
	verb := Verb(name)
	if err := verb.Validate(); err != nil {
		return "", "", in("subject", err)
	}
	return device, verb, nil
}

// ParseEventSubject returns the kind of an event and what it is about.
func ParseEventSubject(subject string) (EventKind, string, error) {
	rest, ok := strings.CutPrefix(subject, subjectEvents)
	kind, about, found := strings.Cut(rest, ".")
	if !ok || !found || checkLabel(about) != "" {
		return "", "", invalid("subject", "%q is not %s<kind>.<name>", subject, subjectEvents)
	}
	if err := EventKind(kind).Validate(); err != nil {
		return "", "", in("subject", err)
	}
	return EventKind(kind), about, nil
}

func parseDevice(subject, prefix string) (DeviceID, error) {
	rest, ok := strings.CutPrefix(subject, prefix)
	if !ok || checkLabel(rest) != "" {
		return "", invalid("subject", "%q is not %s<device>", subject, prefix)
	}
	return DeviceID(rest), nil
}

func parsePair(subject, prefix string) (DeviceID, string, error) {
	rest, ok := strings.CutPrefix(subject, prefix)
	device, last, found := strings.Cut(rest, ".")
	if !ok || !found || checkLabel(device) != "" {
		return "", "", invalid("subject", "%q is not %s<device>.<token>", subject, prefix)
	}
	return DeviceID(device), last, nil
}
