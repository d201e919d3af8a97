package dev

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// writeAgentConfig writes a device's configuration as a person would.
func writeAgentConfig(m member, d deviceLayout, server, signingKey string, containers bool) error {
	return writeDeviceConfig(m, d, fmt.Sprintf(`device = %q
state_dir = %q
signing_keys = [%q]

[broker]
servers = [%q]
nkey_file = %q
`, m.id, d.state(), signingKey, server, d.nkey()), containers)
}

// writeEnrollingConfig writes that of a device which is told by enrollment who
// it is and whom it trusts.
func writeEnrollingConfig(m member, d deviceLayout, server string, containers bool) error {
	return writeDeviceConfig(m, d, fmt.Sprintf(`state_dir = %q

[broker]
servers = [%q]
`, d.state(), server), containers)
}

func writeDeviceConfig(m member, d deviceLayout, head string, containers bool) error {
	if err := os.MkdirAll(d.root, 0o700); err != nil {
		return fmt.Errorf("device %s: %w", m.id, err)
	}
	text := head + fmt.Sprintf(`
[podman]
disabled = %t
owner = %q

[commands]
exec = "all"
`, !containers, owner(m))
	return os.WriteFile(d.config(), []byte(text), 0o600)
}

// owner tells the containers of the agents on this host apart. It has at most
// 32 bytes.
func owner(m member) string {
	sum := sha256.Sum256([]byte(m.id))
	return "fleet-" + hex.EncodeToString(sum[:4])
}

// writeOperatorConfig writes the operator's configuration.
func writeOperatorConfig(l layout, server string, heartbeat time.Duration) error {
	text := fmt.Sprintf(`server: [%q]
nkey-file: %q
signing-key-file: %q
identity: dev
heartbeat-interval: %s
lease-ttl: 3s
health-address: ""
`, server, l.operatorNKey(), l.signingKey(), heartbeat)
	return os.WriteFile(l.operatorConfig(), []byte(text), 0o600)
}

// Ready is what ready.json says once the fleet's programs have been started.
type Ready struct {
	// Server is the broker's URL, NKey the file with the seed that the CLI uses.
	Server string `json:"server"`
	NKey   string `json:"nkey"`
	Dir    string `json:"dir"`
	// Devices are the IDs of the fleet's devices.
	Devices []string `json:"devices"`
}

// write replaces ready.json as a whole, so that whoever waits for it reads it
// complete.
func (r Ready) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// help tells a person how to use the fleet from another terminal.
func (r Ready) help(context string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nIn another terminal:\n\n")
	if context == "" {
		fmt.Fprintf(&b, "  export FLEET_NATS_URL=%s FLEET_NKEY=%s\n", r.Server, r.NKey)
	} else {
		fmt.Fprintf(&b, "  export FLEET_CONTEXT=%s\n", context)
	}
	fmt.Fprintf(&b, "  fleet get devices\n  fleet apply -f examples/hello.yaml\n\nCtrl-C stops the fleet.\n")
	return b.String()
}
