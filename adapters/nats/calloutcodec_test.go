package nats

import (
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
)

// asker is a broker that asks, in full control of what it says.
type asker struct {
	server, curve nkeys.KeyPair
	claims        *jwt.AuthorizationRequestClaims
	header        nats.Header
}

func newAsker(tb testing.TB) *asker {
	tb.Helper()
	a := &asker{server: newPair(tb, nkeys.CreateServer), curve: newPair(tb, nkeys.CreateCurveKeys), header: nats.Header{}}
	a.claims = jwt.NewAuthorizationRequestClaims("issuer")
	a.claims.Audience = calloutAudience
	a.claims.UserNkey = publicOf(tb, newPair(tb, nkeys.CreateUser))
	a.claims.Server = jwt.ServerID{ID: publicOf(tb, a.server), XKey: publicOf(tb, a.curve)}
	a.claims.Expires = time.Now().Add(time.Minute).Unix()
	a.claims.ConnectOptions.Token = "token"
	a.header.Set(calloutXKey, publicOf(tb, a.curve))
	return a
}

func newPair(tb testing.TB, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	tb.Helper()
	pair, err := create()
	require.NoError(tb, err)
	return pair
}

func publicOf(tb testing.TB, pair nkeys.KeyPair) string {
	tb.Helper()
	public, err := pair.PublicKey()
	require.NoError(tb, err)
	return public
}

// ask returns the request, sealed for a callout unless that has no key.
func (a *asker) ask(tb testing.TB, codec calloutCodec) []byte {
	tb.Helper()
	encoded, err := a.claims.Encode(a.server)
	require.NoError(tb, err)
	if codec.exchange == nil {
		return []byte(encoded)
	}
	sealed, err := a.curve.Seal([]byte(encoded), publicOf(tb, codec.exchange))
	require.NoError(tb, err)
	return sealed
}

func newCodec(tb testing.TB) calloutCodec {
	tb.Helper()
	return calloutCodec{issuer: newPair(tb, nkeys.CreateAccount), exchange: newPair(tb, nkeys.CreateCurveKeys)}
}

func TestCalloutCodecRefuses(t *testing.T) {
	t.Parallel()
	codec := newCodec(t)
	tests := map[string]func(*asker) []byte{
		"not encrypted": func(a *asker) []byte { a.header = nil; return a.ask(t, codec) },
		"cannot be decrypted": func(a *asker) []byte {
			return append(a.ask(t, codec), 'x')
		},
		"another server signed it": func(a *asker) []byte {
			a.claims.Server.ID = publicOf(t, newPair(t, nkeys.CreateServer))
			return a.ask(t, codec)
		},
		"not meant for an auth callout": func(a *asker) []byte { a.claims.Audience = "other"; return a.ask(t, codec) },
		"another key than its server's": func(a *asker) []byte {
			a.claims.Server.XKey = publicOf(t, newPair(t, nkeys.CreateCurveKeys))
			return a.ask(t, codec)
		},
		"names no user":    func(a *asker) []byte { a.claims.UserNkey = "U"; return a.ask(t, codec) },
		"does not decode":  func(a *asker) []byte { return sealed(t, a, codec, []byte("eyJ.eyJ.x")) },
		"at most":          func(*asker) []byte { return make([]byte, maxCalloutRequest+1) },
		"no exchange key ": nil,
	}
	for text, spoil := range tests {
		a := newAsker(t)
		if spoil == nil {
			_, err := calloutCodec{issuer: codec.issuer}.decode(a.header, a.ask(t, codec))
			require.ErrorContains(t, err, text)
			continue
		}
		data := spoil(a)
		_, err := codec.decode(a.header, data)
		require.ErrorContains(t, err, text)
	}
	a := newAsker(t)
	request, err := codec.decode(a.header, a.ask(t, codec))
	require.NoError(t, err)
	require.Equal(t, "token", request.token)
}

func sealed(tb testing.TB, a *asker, codec calloutCodec, data []byte) []byte {
	tb.Helper()
	data, err := a.curve.Seal(data, publicOf(tb, codec.exchange))
	require.NoError(tb, err)
	return data
}

// The permissions of an admitted device are exactly those of DevicePermissions,
// and an empty list never means everything.
func TestCalloutCodecAdmits(t *testing.T) {
	t.Parallel()
	codec, a := newCodec(t), newAsker(t)
	request, err := codec.decode(a.header, a.ask(t, codec))
	require.NoError(t, err)
	expires := time.Now().Add(time.Hour)
	admitted, denied := admissionOf(domain.Principal{Subject: "u", Device: "pi-1", Roles: []domain.Role{domain.RoleDevice, domain.RoleOperator}, ExpiresAt: expires}, "t", Accounts{}.withDefaults())
	require.Nil(t, denied)
	response, err := codec.admit(request, admitted)
	require.NoError(t, err)
	opened, err := a.curve.Open(response, publicOf(t, codec.exchange))
	require.NoError(t, err)
	answer, err := jwt.DecodeAuthorizationResponseClaims(string(opened))
	require.NoError(t, err)
	user, err := jwt.DecodeUserClaims(answer.Jwt)
	require.NoError(t, err)
	want := DevicePermissions("pi-1")
	require.Equal(t, want.PublishAllow, []string(user.Pub.Allow))
	require.Equal(t, want.SubscribeAllow, []string(user.Sub.Allow))
	require.Equal(t, want.Responses, user.Resp.MaxMsgs)
	require.Equal(t, "device/pi-1", user.Name)
	require.Equal(t, "FLEET", user.Audience)
	require.Equal(t, expires.Unix(), user.Expires)

	require.Equal(t, jwt.Permission{Deny: jwt.StringList{">"}}, allowOnly(nil, nil))
}

func FuzzCalloutRequest(f *testing.F) {
	codec, a := newCodec(f), newAsker(f)
	plain := calloutCodec{issuer: codec.issuer}
	f.Add(a.ask(f, plain))
	f.Add([]byte("eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.e30.AA"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if request, err := plain.decode(nil, data); err == nil && !nkeys.IsValidPublicUserKey(request.user) {
			t.Fatal("a request without a user was taken")
		}
		// What is sealed for us is not therefore well-formed.
		if request, err := codec.decode(a.header, sealed(t, a, codec, data)); err == nil && request.user == "" {
			t.Fatal("a request without a user was taken")
		}
	})
}

func FuzzConnectionList(f *testing.F) {
	f.Add([]byte(`{"server":{"id":"N"},"data":{"connections":[{"cid":7,"authorized_user":"device/pi-1","start":"2026-01-01T00:00:00Z"}]}}`))
	f.Add([]byte(`{"error":{"description":"no"}}`))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = decodeList(data) })
}

func TestDenialLogIsBounded(t *testing.T) {
	t.Parallel()
	d := newDenialLog(nil, orDiscard(nil))
	now := time.Now()
	told := 0
	for range 100_000 {
		now = now.Add(time.Millisecond)
		if _, tell := d.admit(denialKey{subject: now.String(), reason: DeniedNoRole}, now); tell {
			told++
		}
	}
	require.LessOrEqual(t, told, denialBurst+int(100*time.Second/denialEvery))
	require.LessOrEqual(t, len(d.current), told, "nor does it grow")

	key := denialKey{subject: "same", reason: DeniedRevoked}
	now = now.Add(denialWindow)
	_, tell := d.admit(key, now)
	require.True(t, tell)
	for range 41 {
		_, tell = d.admit(key, now)
		require.False(t, tell)
	}
	more, tell := d.admit(key, now.Add(denialWindow))
	require.True(t, tell)
	require.EqualValues(t, 41, more)

	event := denialEvent(denial{reason: DeniedBadToken, message: string(make([]byte, 5000)) + "é"}, "10.0.0.1", 3, now)
	require.NoError(t, event.Validate())
}
