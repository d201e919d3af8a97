package contracts_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

// Permissions of deployed fleets hold these very texts.
func TestSubjectsAreFrozen(t *testing.T) {
	tests := map[string]string{
		DesiredSubject("pi-042"):                       "fleet.desired.pi-042",
		SyncSubject("pi-042"):                          "fleet.sync.pi-042",
		ReportSubject("pi-042", ReportInfo):            "fleet.report.pi-042.info",
		ReportSubject("pi-042", ReportState):           "fleet.report.pi-042.state",
		ReportsSubject("pi-042"):                       "fleet.report.pi-042.>",
		HeartbeatSubject("pi-042"):                     "fleet.heartbeat.pi-042",
		EventSubject(EventDeviceOnline, "pi-042"):      "fleet.events.DeviceOnline.pi-042",
		EventSubject(EventDeploymentApplied, "web"):    "fleet.events.DeploymentApplied.web",
		CommandSubject("pi-042", VerbPing):             "device-commands.pi-042.ping",
		CommandsSubject("pi-042"):                      "device-commands.pi-042.>",
		InboxPrefix("pi-042"):                          "_INBOX_pi-042",
		EnrollmentInboxPrefix("token"):                 "_INBOX__ENROLL_3c469e9d6c5875d37a43f353d4f88e61",
		EnrollSubject:                                  "fleet.enroll",
		EnrollTokenSubject:                             "fleet.enroll-token",
		AllDesired:                                     "fleet.desired.*",
		AllSyncs:                                       "fleet.sync.*",
		AllReports:                                     "fleet.report.*.*",
		AllHeartbeats:                                  "fleet.heartbeat.*",
		AllEvents:                                      "fleet.events.*.*",
		Event{Device: "pi", Deployment: "web"}.About(): "pi",
		Event{Deployment: "web"}.About():               "web",
		Event{}.About():                                "unknown",
		strings.Join([]string{BucketDesiredState, BucketDeployments, BucketDeploymentStatus}, " "): "desired-state deployments deployment-status",
		strings.Join([]string{BucketDevices, BucketEnrollments, BucketLeases}, " "):                "devices enrollments leases",
		strings.Join([]string{StreamReports, StreamHeartbeats, StreamEvents}, " "):                 "device-reports device-heartbeats fleet-events",
	}
	for got, want := range tests {
		assert.Equal(t, want, got)
	}
}

func TestParsersInvertBuilders(t *testing.T) {
	for _, id := range []DeviceID{"a", "pi-042", DeviceID(strings.Repeat("x", 63))} {
		single := map[string]func(string) (DeviceID, error){
			DesiredSubject(id):   ParseDesiredSubject,
			SyncSubject(id):      ParseSyncSubject,
			HeartbeatSubject(id): ParseHeartbeatSubject,
		}
		for subject, parse := range single {
			got, err := parse(subject)
			require.NoError(t, err)
			assert.Equal(t, id, got)
		}
		for _, kind := range []ReportKind{ReportInfo, ReportState} {
			got, gotKind, err := ParseReportSubject(ReportSubject(id, kind))
			require.NoError(t, err)
			assert.Equal(t, id, got)
			assert.Equal(t, kind, gotKind)
		}
		for _, verb := range Verbs() {
			got, gotVerb, err := ParseCommandSubject(CommandSubject(id, verb))
			require.NoError(t, err)
			assert.Equal(t, id, got)
			assert.Equal(t, verb, gotVerb)
		}
		for _, kind := range EventKinds() {
			gotKind, about, err := ParseEventSubject(EventSubject(kind, string(id)))
			require.NoError(t, err)
			assert.Equal(t, string(id), about)
			assert.Equal(t, kind, gotKind)
		}
	}
}

func TestSubjectsAreRefused(t *testing.T) {
	parsers := map[string]func(string) error{
		"fleet.desired.":   func(s string) error { _, err := ParseDesiredSubject(s); return err },
		"fleet.sync.":      func(s string) error { _, err := ParseSyncSubject(s); return err },
		"fleet.heartbeat.": func(s string) error { _, err := ParseHeartbeatSubject(s); return err },
		"fleet.report.":    func(s string) error { _, _, err := ParseReportSubject(s); return err },
		"device-commands.": func(s string) error { _, _, err := ParseCommandSubject(s); return err },
		"fleet.events.":    func(s string) error { _, _, err := ParseEventSubject(s); return err },
	}
	for prefix, parse := range parsers {
		for _, rest := range []string{
			"", ".", "*", ">", "PI", "pi.", ".pi", "pi.pi.pi", "pi..info", "pi.INFO", "-pi.info", "pi_1.ping",
			"DeviceOnline", "DeviceOnline.", "DeviceOnline.PI", "DeviceOnline.pi.x", "deviceonline.pi", "*.info", "pi.*", "pi.>",
			"pi.info ", "pi.ping\n", strings.Repeat("x", 64), strings.Repeat("x", 64) + ".info",
		} {
			assertFieldError(t, parse(prefix+rest), "subject", "")
		}
		assertFieldError(t, parse("other."+prefix+"pi"), "subject", "")
	}
	_, _, err := ParseCommandSubject("device-commands.pi.rm")
	assertFieldError(t, err, "subject", `"rm" is not a known verb`)
	_, _, err = ParseReportSubject("fleet.report.pi.other")
	assertFieldError(t, err, "subject", "the kind must be info or state")
	_, err = ParseSyncSubject("fleet.desired.pi")
	assertFieldError(t, err, "subject", `"fleet.desired.pi" is not fleet.sync.<device>`)
}
