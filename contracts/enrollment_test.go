package contracts_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/nationtech/harmony-fleet/contracts"
)

func TestDeviceRules(t *testing.T) {
	device := func() DeviceRecord { return DeviceRecord{ID: "pi", RegisteredAt: at(1)} }
	checkRefusals(t, device, []refusal[DeviceRecord]{
		{"name", func(s *DeviceRecord) { s.ID = "PI" }, "id", "DNS-1123"},
		{"reported label", func(s *DeviceRecord) { s.Labels = Labels{ReportedLabelPrefix + "a": ""} }, "labels", "what devices say about themselves"},
		{"label", func(s *DeviceRecord) { s.Labels = Labels{"a": "-"} }, "labels.a", "label value"},
		{"key", func(s *DeviceRecord) { s.PublicKey = strings.Repeat("x", 4097) }, "publicKey", "at most 4096 bytes"},
	})
	intent := func() EnrollmentIntent {
		return EnrollmentIntent{Device: "pi", State: EnrollmentPending, TokenHash: strings.Repeat("a", 64)}
	}
	type i = *EnrollmentIntent
	checkRefusals(t, intent, []refusal[EnrollmentIntent]{
		{"name", func(s i) { s.Device = "" }, "device", "must not be empty"},
		{"label", func(s i) { s.Labels = Labels{DeviceLabel: "x"} }, "labels", "is set by the system"},
		{"state", func(s i) { s.State = "Open" }, "state", `"Open" is not a known enrollment state`},
		{"no hash", func(s i) { s.TokenHash = "" }, "tokenHash", "must be 64 hexadecimal digits"},
		{"the token itself", func(s i) { s.TokenHash = strings.Repeat("z", 64) }, "tokenHash", "must be 64 hexadecimal digits"},
		{"key", func(s i) { s.PublicKey = strings.Repeat("x", 4097) }, "publicKey", "at most 4096 bytes"},
		{"reason", func(s i) { s.Reason = strings.Repeat("x", 1025) }, "reason", "at most 1024 bytes"},
	})
	request := func() EnrollRequest { return EnrollRequest{Device: "pi", Token: "t", PublicKey: testPEM} }
	type q = *EnrollRequest
	checkRefusals(t, request, []refusal[EnrollRequest]{
		{"name", func(s q) { s.Device = "" }, "device", "must not be empty"},
		{"no token", func(s q) { s.Token = "" }, "token", "must be 1 to 1024 bytes"},
		{"long token", func(s q) { s.Token = strings.Repeat("x", 1025) }, "token", "must be 1 to 1024 bytes"},
		{"no key", func(s q) { s.PublicKey = "" }, "publicKey", "must not be empty"},
		{"long key", func(s q) { s.PublicKey = strings.Repeat("x", 4097) }, "publicKey", "at most 4096 bytes"},
		{"inventory", func(s q) { s.Inventory.CPUs = -1 }, "inventory.cpus", "must not be negative"},
	})
	reply := func() EnrollReply { return EnrollReply{State: EnrollmentDone, Credential: credential()} }
	type r = *EnrollReply
	checkRefusals(t, reply, []refusal[EnrollReply]{
		{"state", func(s r) { s.State = "" }, "state", "is not a known enrollment state"},
		{"reason", func(s r) { s.Reason = notUTF8 }, "reason", "valid UTF-8"},
		{"issuer", func(s r) { s.Credential.Issuer = "" }, "credential.issuer", "must not be empty"},
		{"user", func(s r) { s.Credential.UserID = "" }, "credential.userID", "must not be empty"},
		{"key", func(s r) { s.Credential.KeyID = "" }, "credential.keyID", "must not be empty"},
		{"no servers", func(s r) { s.Credential.Servers = nil }, "credential.servers", "must hold at least one URL"},
		{"server", func(s r) { s.Credential.Servers = []string{"a", ""} }, "credential.servers[1]", "must not be empty"},
		{"no signing keys", func(s r) { s.Credential.SigningKeys = nil }, "credential.signingKeys", "must hold at least one key"},
		{"signing key", func(s r) { s.Credential.SigningKeys = []string{"x"} }, "credential.signingKeys[0]", `a fleet public key begins with "ed25519:"`},
	})
	lease := func() LeaseRecord { return LeaseRecord{Holder: "a", TTL: Duration(time.Minute)} }
	checkRefusals(t, lease, []refusal[LeaseRecord]{
		{"no holder", func(s *LeaseRecord) { s.Holder = "" }, "holder", "must not be empty"},
		{"long holder", func(s *LeaseRecord) { s.Holder = strings.Repeat("x", 257) }, "holder", "at most 256 bytes"},
		{"time", func(s *LeaseRecord) { s.TTL = 0 }, "ttl", "must be from 1s to 1h0m0s"},
	})
}
