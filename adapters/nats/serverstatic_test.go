package nats_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// A real broker admits the users of the text, included from another file, and
// holds them to their rights.
func TestStaticConf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text, err := nats.StaticConf(nats.Accounts{}, []nats.StaticUser{
		{Name: "operator", Password: `pass "word" $HOME`, Permissions: nats.OperatorPermissions()},
		{Name: "pi-1", Password: "other", Permissions: nats.DevicePermissions("pi-1")},
		{Name: "viewer", Password: "third", Viewer: true, Permissions: nats.ViewerPermissions()},
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "auth.conf"), []byte(text), 0o600))
	conf := filepath.Join(dir, "nats.conf")
	require.NoError(t, os.WriteFile(conf, []byte("listen: \"127.0.0.1:-1\"\njetstream {store_dir: "+`"`+dir+`"`+"}\ninclude auth.conf;\n"), 0o600))
	options, err := server.ProcessConfigFile(conf)
	require.NoError(t, err)
	options.NoSigs, options.NoLog = true, true
	broker, err := server.NewServer(options)
	require.NoError(t, err)
	broker.Start()
	defer func() { broker.Shutdown(); broker.WaitForShutdown() }()
	require.True(t, broker.ReadyForConnections(patience))

	_, err = natsgo.Connect(broker.ClientURL(), natsgo.UserInfo("operator", "wrong"))
	require.ErrorIs(t, err, natsgo.ErrAuthorization)
	_, err = natsgo.Connect(broker.ClientURL())
	require.ErrorIs(t, err, natsgo.ErrAuthorization)
	viewer, err := natsgo.Connect(broker.ClientURL(), natsgo.UserInfo("viewer", "third"))
	require.NoError(t, err)
	viewer.Close()

	operator, err := natsgo.Connect(broker.ClientURL(), natsgo.UserInfo("operator", `pass "word" $HOME`))
	require.NoError(t, err)
	defer operator.Close()
	denied := make(chan error, 8)
	device, err := natsgo.Connect(broker.ClientURL(), natsgo.UserInfo("pi-1", "other"),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { denied <- err }))
	require.NoError(t, err)
	defer device.Close()
	heard, err := operator.SubscribeSync(contracts.AllHeartbeats)
	require.NoError(t, err)
	require.NoError(t, operator.Flush())
	require.NoError(t, device.Publish(contracts.HeartbeatSubject("pi-1"), []byte("{}")))
	_, err = heard.NextMsg(patience)
	require.NoError(t, err)
	require.NoError(t, device.Publish(contracts.HeartbeatSubject("pi-2"), []byte("{}")))
	require.ErrorIs(t, <-denied, natsgo.ErrPermissionViolation)
}

func TestStaticConfRefuses(t *testing.T) {
	t.Parallel()
	for says, users := range map[string][]nats.StaticUser{
		"at least one user":     nil,
		"a name and a password": {{}},
		"public nkey of a user": {{NKey: "UNONE"}},
		"has no password":       {{Name: "a"}},
		"is there twice":        {{Name: "a", Password: "b"}, {Name: "a", Password: "c"}},
	} {
		_, err := nats.StaticConf(nats.Accounts{}, users)
		require.ErrorIs(t, err, domain.ErrInvalid, says)
		require.ErrorContains(t, err, says)
	}
	_, err := nats.StaticConf(nats.Accounts{Fleet: "}"}, []nats.StaticUser{{Name: "a", Password: "b"}})
	require.ErrorContains(t, err, "account name")
}
