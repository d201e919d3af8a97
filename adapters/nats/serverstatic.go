package nats

import (
	"fmt"

	"github.com/nats-io/nkeys"

	"github.com/nationtech/harmony-fleet/domain"
)

// StaticUser is a user whom the broker knows by itself, where there is no callout.
type StaticUser struct {
	// NKey is the user's public key. Name and Password are the alternative.
	NKey string
	Name string
	// Password is plain or, better, its bcrypt hash: the broker takes both.
	Password string
	// Viewer puts the user into the account of viewers.
	Viewer bool
	// Permissions are those of the user, such as DevicePermissions.
	Permissions Permissions
}

func (u StaticUser) credential() string {
	if u.NKey != "" {
		return "nkey: " + u.NKey
	}
	return fmt.Sprintf("user: %s, password: %s", quote(u.Name), quote(u.Password))
}

// StaticConf returns the part of a broker's configuration that says who may
// connect when the broker itself knows everybody, to be included where something
// else writes the rest. It holds the passwords.
func StaticConf(accounts Accounts, users []StaticUser) (string, error) {
	a := accounts.withDefaults()
	if err := a.validate(); err != nil {
		return "", err
	}
	if err := validateStatic(users); err != nil {
		return "", err
	}
	w := &confWriter{}
	write := func(viewers bool) {
		w.list("users", func() {
			for _, user := range users {
				if user.Viewer == viewers {
					w.userAs(user.credential(), user.Permissions)
				}
			}
		})
	}
	w.block("accounts", func() {
		w.block(a.Fleet, func() {
			w.line("jetstream: enabled")
			write(false)
			writeExports(w, a)
		})
		w.block(a.View, func() {
			write(true)
			writeViewImports(w, a)
		})
		w.block(a.System, func() {})
	})
	w.line("system_account: %s", a.System)
	w.block("authorization", func() { w.line("timeout: %d", int(calloutTimeout.Seconds())) })
	return w.text.String(), nil
}

func validateStatic(users []StaticUser) error {
	if len(users) == 0 {
		return domain.Errorf(domain.ErrInvalid, "broker configuration: name at least one user")
	}
	seen := map[string]bool{}
	for i, user := range users {
		id := user.Name + user.NKey
		switch {
		case (user.NKey == "") == (user.Name == ""):
			return domain.Errorf(domain.ErrInvalid, "broker configuration: user %d needs a public nkey, or a name and a password", i)
		case user.NKey != "" && !nkeys.IsValidPublicUserKey(user.NKey):
			return domain.Errorf(domain.ErrInvalid, "broker configuration: %q is not the public nkey of a user", user.NKey)
		case user.Name != "" && user.Password == "":
			return domain.Errorf(domain.ErrInvalid, "broker configuration: user %q has no password", user.Name)
		case seen[id]:
			return domain.Errorf(domain.ErrInvalid, "broker configuration: user %q is there twice", id)
		}
		seen[id] = true
	}
	return nil
}
