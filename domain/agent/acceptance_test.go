package agent

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
)

func testKeys() (trusted, stranger ed25519.PrivateKey) {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
}

func public(key ed25519.PrivateKey) ed25519.PublicKey {
	p, _ := key.Public().(ed25519.PublicKey)
	return p
}

func testDocument(tb testing.TB, device contracts.DeviceID, generation uint64, names ...contracts.DeploymentName) []byte {
	tb.Helper()
	state := contracts.DesiredState{Device: device, Generation: generation, HeartbeatInterval: contracts.Duration(time.Minute)}
	for _, name := range names {
		state.Deployments = append(state.Deployments, contracts.DesiredDeployment{
			Name: name, Generation: 1, Score: contracts.ReconcileScore{Type: "Any", Data: json.RawMessage(`{}`)},
		})
	}
	data, err := contracts.Encode(state)
	require.NoError(tb, err)
	return data
}

func heldAt(tb testing.TB, x *acceptance, envelope []byte, now time.Time) {
	tb.Helper()
	taken, refusal := x.judge(envelope, now)
	require.Nil(tb, refusal)
	require.NotNil(tb, taken)
	x.hold(taken)
}

func TestAcceptance(t *testing.T) {
	key, _ := testKeys()
	now := time.Unix(1_700_000_000, 0)
	sign := func(generation uint64, names ...contracts.DeploymentName) []byte {
		return contracts.Sign(testDocument(t, "pi", generation, names...), key)
	}
	x := &acceptance{identity: Identity{Device: "pi", TrustedKeys: []ed25519.PublicKey{public(key)}}}
	heldAt(t, x, sign(5), now)
	heldAt(t, x, sign(8, "a"), now)

	tests := []struct {
		name     string
		envelope []byte
		after    time.Duration
		taken    bool
		refused  contracts.RefusalReason
	}{
		{name: "the very same", envelope: sign(8, "a")},
		{name: "the same document in another envelope", envelope: append(sign(8, "a"), ' ')},
		{name: "the same generation with another document", envelope: sign(8, "b"), refused: contracts.RefusedOlderGeneration},
		{name: "the next", envelope: sign(9), taken: true},
		{name: "a much later one", envelope: sign(contracts.MaxGeneration), taken: true},
		{name: "an older one that may have been under way", envelope: sign(7), after: 59 * time.Second},
		{name: "an older one that cannot have been", envelope: sign(7), after: time.Minute, refused: contracts.RefusedOlderGeneration},
		{name: "one that was held before, long after", envelope: sign(5), after: time.Hour},
		{name: "the generation of one held before with another document", envelope: sign(5, "x"), after: time.Hour, refused: contracts.RefusedOlderGeneration},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			taken, refusal := x.judge(test.envelope, now.Add(test.after))
			assert.Equal(t, test.taken, taken != nil)
			if test.refused == "" {
				assert.Nil(t, refusal)
			} else if assert.NotNil(t, refusal) {
				assert.Equal(t, test.refused, refusal.Reason)
			}
		})
	}
}

func TestWithoutTrustedKeysNothingIsAccepted(t *testing.T) {
	key, _ := testKeys()
	_, refusal := Identity{Device: "pi"}.open(contracts.Sign(testDocument(t, "pi", 1), key))
	require.NotNil(t, refusal)
	assert.Equal(t, contracts.RefusedUnknownKey, refusal.Reason)
}

// FuzzAcceptance: whatever arrives, only a document that is signed by a trusted
// key, for this device and of a higher generation is taken, and every refusal can
// be reported.
func FuzzAcceptance(f *testing.F) {
	key, stranger := testKeys()
	held := contracts.Sign(testDocument(f, "pi", 5, "web"), key)
	for _, seed := range [][]byte{
		held,
		contracts.Sign(testDocument(f, "pi", 6), key),
		contracts.Sign(testDocument(f, "pi", 4), key),
		contracts.Sign(testDocument(f, "pi2", 6), key),
		contracts.Sign(testDocument(f, "pi", 6), stranger),
		contracts.SignAs(testDocument(f, "pi", 6), contracts.KeyID(public(key)), stranger),
		[]byte(`{"document":{},"signature":{}}`), []byte(`null`), nil,
	} {
		f.Add(seed, false)
	}
	f.Add(testDocument(f, "pi", 7), true)
	f.Add([]byte(`{"device":"pi","generation":7,"generation":4}`), true)
	f.Fuzz(func(t *testing.T, data []byte, sign bool) {
		if sign {
			data = contracts.Sign(data, key)
		}
		now := time.Unix(1_700_000_000, 0)
		x := &acceptance{identity: Identity{Device: "pi", TrustedKeys: []ed25519.PublicKey{public(key)}}}
		heldAt(t, x, held, now)
		taken, refusal := x.judge(data, now.Add(time.Hour))
		if refusal != nil {
			require.Nil(t, taken)
			require.NoError(t, contracts.DeviceReport{Refused: refusal}.Validate())
			return
		}
		if taken == nil {
			return
		}
		signed, err := contracts.Decode[contracts.Signed](data)
		require.NoError(t, err)
		require.NoError(t, signed.Verify(x.identity.TrustedKeys))
		require.Equal(t, contracts.DeviceID("pi"), taken.state.Device)
		require.Greater(t, taken.state.Generation, uint64(5))
		require.NoError(t, taken.state.Validate())
		require.Equal(t, data, taken.envelope)
	})
}
