package zitadel

import (
	"crypto/rand"
	"fmt"
)

const masterKeyLength = 32

func (s *FleetZitadelScore) masterKeySecret() string  { return s.release() + "-masterkey" }
func (s *FleetZitadelScore) adminSecret() string      { return s.release() + "-first-admin" }
func (s *FleetZitadelScore) databaseSecret() string   { return s.release() + "-database" }
func (s *FleetZitadelScore) databaseCASecret() string { return s.release() + "-database-ca" }

// adminConfig is the key of Zitadel's configuration in the administrator's Secret.
const adminConfig = "config-yaml"

// newMasterKey makes a key of letters and digits with 5 random bits each.
func newMasterKey() (map[string][]byte, error) {
	return map[string][]byte{"masterkey": []byte((rand.Text() + rand.Text())[:masterKeyLength])}, nil
}

// newAdmin makes the password of the first administrator, whose usual one is
// known to everybody: for Zitadel as a part of its configuration, and for people
// as it is.
func newAdmin() (map[string][]byte, error) {
	password := "Aa1-" + rand.Text() // of all kinds that Zitadel asks for
	config := fmt.Sprintf("FirstInstance:\n  Org:\n    Human:\n      Password: %q\n      PasswordChangeRequired: true\n", password)
	return map[string][]byte{adminConfig: []byte(config), "password": []byte(password)}, nil
}
