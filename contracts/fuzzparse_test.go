package contracts_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

func isTemplate(s string) bool { return strings.Contains(s, "{{") }

// fuzzParse: whatever the text, no panic; build(parse(text)) is text.
func fuzzParse[V any](f *testing.F, parse func(string) (V, error), build func(V) string, seeds ...string) {
	f.Helper()
	for _, seed := range append(seeds, "", ".", "..", "fleet.", "fleet.sync.*", "fleet.sync.a.b", "\x00", "é") {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := parse(text)
		if err != nil {
			requireFieldError(t, err)
			return
		}
		require.Equal(t, text, build(value))
	})
}

type reportSubject struct {
	device DeviceID
	kind   ReportKind
}

type commandSubject struct {
	device DeviceID
	verb   Verb
}

type eventSubject struct {
	kind  EventKind
	about string
}

func parseReport(s string) (v reportSubject, err error) {
	v.device, v.kind, err = ParseReportSubject(s)
	return v, err
}

func parseCommand(s string) (v commandSubject, err error) {
	v.device, v.verb, err = ParseCommandSubject(s)
	return v, err
}

func parseEvent(s string) (v eventSubject, err error) {
	v.kind, v.about, err = ParseEventSubject(s)
	return v, err
}

func buildReport(v reportSubject) string   { return ReportSubject(v.device, v.kind) }
func buildCommand(v commandSubject) string { return CommandSubject(v.device, v.verb) }
func buildEvent(v eventSubject) string     { return EventSubject(v.kind, v.about) }

func FuzzParseDesiredSubject(f *testing.F) {
	fuzzParse(f, ParseDesiredSubject, DesiredSubject, "fleet.desired.pi-042")
}

func FuzzParseSyncSubject(f *testing.F) {
	fuzzParse(f, ParseSyncSubject, SyncSubject, "fleet.sync.pi-042")
}

func FuzzParseHeartbeatSubject(f *testing.F) {
	fuzzParse(f, ParseHeartbeatSubject, HeartbeatSubject, "fleet.heartbeat.pi-042")
}

func FuzzParseReportSubject(f *testing.F) {
	fuzzParse(f, parseReport, buildReport, "fleet.report.pi-042.info", "fleet.report.pi-042.state", "fleet.report.pi.x")
}

func FuzzParseCommandSubject(f *testing.F) {
	fuzzParse(f, parseCommand, buildCommand, "device-commands.pi-042.ping", "device-commands.pi.rm")
}

func FuzzParseEventSubject(f *testing.F) {
	fuzzParse(f, parseEvent, buildEvent, "fleet.events.DeviceOnline.pi-042", "fleet.events.X.pi")
}

func FuzzParseDeviceID(f *testing.F) {
	fuzzParse(f, ParseDeviceID, DeviceID.String, "pi-042")
}

func FuzzParseDeploymentName(f *testing.F) {
	fuzzParse(f, ParseDeploymentName, DeploymentName.String, "web")
}

func FuzzParsePublicKey(f *testing.F) {
	fuzzParse(f, ParsePublicKey, FormatPublicKey, FormatPublicKey(testPublicKey()), "ed25519:AAAA", "rsa:x")
}

func FuzzParseAmount(f *testing.F) {
	fuzzParse(f, ParseAmount, Amount.String, "0", "3", "10%", "100%", "101%", "-1", "1.5", "007", "2147483648")
}

// A port has several spellings; its own form reads back as the same port.
func FuzzParsePort(f *testing.F) {
	for _, seed := range []string{"8080:80", "127.0.0.1:53:53/udp", "[::1]:1:2/tcp", "::1:1:2", "1", ":", "[]:1:1", "70000:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		port, err := ParsePort(text)
		if err != nil {
			requireFieldError(t, err)
			return
		}
		again, err := ParsePort(portText(t, port))
		require.NoError(t, err)
		require.Equal(t, port, again)
	})
}

func portText(t *testing.T, port Port) string {
	t.Helper()
	text := fmt.Sprintf("%d:%d/%s", port.HostPort, port.ContainerPort, port.Protocol)
	if port.HostIP == "" {
		return text
	}
	address, err := netip.ParseAddr(port.HostIP)
	require.NoError(t, err)
	if address.Is4() {
		return port.HostIP + ":" + text
	}
	return "[" + port.HostIP + "]:" + text
}

func FuzzParseVolume(f *testing.F) {
	for _, seed := range []string{"data:/data", "/srv:/srv:ro", "a:/b:rw", "a:b", "/:/", "a:/b:c:d", ":", "../x:/y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		volume, err := ParseVolume(text)
		if err != nil {
			requireFieldError(t, err)
			return
		}
		require.NotContains(t, "/"+volume.Source+"/", "/../", "no way out of the named place")
		require.True(t, volume.Named() || volume.Source[0] == '/')
		canonical := volume.Source + ":" + volume.Target
		if volume.ReadOnly {
			canonical += ":ro"
		}
		again, err := ParseVolume(canonical)
		require.NoError(t, err)
		require.Equal(t, volume, again)
	})
}
