package nats

import (
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
)

// Credential says who connects. The zero value is nobody: a connection without
// authentication.
type Credential struct {
	option func() (nats.Option, error)
	source TokenSource
}

// SeedFile authenticates by the nkey whose seed is in a file. The file is read
// at every connection.
func SeedFile(path string) Credential {
	return Credential{option: func() (nats.Option, error) {
		option, err := nats.NkeyOptionFromSeed(path)
		if err != nil {
			return nil, fmt.Errorf("nkey seed file %s: %w", path, err)
		}
		return option, nil
	}}
}

// PasswordFile authenticates by a user name and the password in a file, less
// white space around it. The file is read at every connection, so a rotated
// password is picked up.
func PasswordFile(user, path string) Credential {
	return Credential{option: func() (nats.Option, error) {
		if _, err := os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("password file: %w", err)
		}
		return nats.UserInfoHandler(func() (string, string) {
			password, err := os.ReadFile(path)
			if err != nil {
				return user, "" // the broker refuses it, and the link says so
			}
			return user, strings.TrimSpace(string(password))
		}), nil
	}}
}
