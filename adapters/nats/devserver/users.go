package devserver

import (
	"encoding/base64"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
)

// users are who may connect, by their public nkeys. The server's own list can
// change only through a reload of all its options, which costs more with every
// device and, in nats-server 2.15, races with its readers.
type users struct {
	mu    sync.RWMutex
	byKey map[string]*server.User
	keyOf map[contracts.DeviceID]string
}

var _ server.Authentication = (*users)(nil)

func newUsers(o Options) *users {
	u := &users{byKey: map[string]*server.User{}, keyOf: map[contracts.DeviceID]string{}}
	if o.Operator != "" {
		u.byKey[o.Operator] = &server.User{Username: "operator", Permissions: permissions(nats.OperatorPermissions())}
	}
	for _, key := range o.Unrestricted {
		u.byKey[key] = &server.User{Username: "unrestricted"}
	}
	for device, key := range o.Devices {
		u.setDevice(device, key)
	}
	return u
}

func (u *users) setDevice(device contracts.DeviceID, key string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.byKey, u.keyOf[device])
	u.keyOf[device] = key
	u.byKey[key] = &server.User{Username: string(device), Permissions: permissions(nats.DevicePermissions(device))}
}

// Check implements server.Authentication.
func (u *users) Check(client server.ClientAuthentication) bool {
	options := client.GetOpts()
	u.mu.RLock()
	user, known := u.byKey[options.Nkey]
	u.mu.RUnlock()
	if !known || !verified(options.Nkey, options.Sig, client.GetNonce()) {
		return false
	}
	client.RegisterUser(user)
	return true
}

// verified reports whether the owner of an nkey signed the nonce.
func verified(key, signature string, nonce []byte) bool {
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return false
	}
	public, err := nkeys.FromPublicKey(key)
	return err == nil && public.Verify(nonce, sig) == nil
}

// permissions gives plain permissions the server's form, in which an empty
// list allows everything.
func permissions(p nats.Permissions) *server.Permissions {
	subjects := func(allow, deny []string) *server.SubjectPermission {
		if len(allow) == 0 {
			return &server.SubjectPermission{Deny: []string{">"}}
		}
		return &server.SubjectPermission{Allow: allow, Deny: deny}
	}
	converted := &server.Permissions{
		Publish:   subjects(p.PublishAllow, p.PublishDeny),
		Subscribe: subjects(p.SubscribeAllow, nil),
	}
	if p.Responses > 0 {
		converted.Response = &server.ResponsePermission{MaxMsgs: p.Responses, Expires: p.ResponseTime}
	}
	return converted
}
