package nats

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/nationtech/harmony-fleet/domain"
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

// TokenFile authenticates by the token in a file, less white space around it,
// which the broker's auth callout verifies. The file is read at every connection,
// so a renewed token is picked up.
func TokenFile(path string) Credential { return TokenCredential(tokenFile(path)) }

type tokenFile string

// Token implements TokenSource. When the token expires is the broker's business.
func (f tokenFile) Token(context.Context) (domain.Token, error) {
	text, err := os.ReadFile(string(f))
	if err != nil {
		return domain.Token{}, domain.WrapError(domain.ErrInvalid, err, "token file")
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return domain.Token{}, domain.Errorf(domain.ErrInvalid, "token file %s is empty", string(f))
	}
	return domain.Token{Value: token}, nil
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
