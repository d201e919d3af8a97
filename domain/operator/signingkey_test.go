package operator_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
)

// TestAnotherSigningKey: an operator that is given another key signs every document
// anew, at a higher generation and with the same contents, whether the device is
// there or not. Going back is the same.
func TestAnotherSigningKey(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("here", nil)
		f.register("away", nil)
		f.agent("here", nil)
		away := f.agent("away", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		away.leave()
		before := map[contracts.DeviceID]contracts.DesiredState{"here": *f.document("here"), "away": *f.document("away")}
		require.Equal(t, contracts.ConditionTrue, f.status("web").Condition(contracts.ConditionAvailable).Status)

		other := sha256.Sum256([]byte("another key"))
		for _, key := range []ed25519.PrivateKey{ed25519.NewKeyFromSeed(other[:]), nil} {
			f.stop()
			f.key = key
			f.start()
			f.settle()
			for id, was := range before {
				is := f.document(id) // which verifies it by the key of now
				require.NotNil(t, is, id)
				assert.Greater(t, is.Generation, was.Generation, "%s takes only higher ones than it holds", id)
				assert.Equal(t, was.Deployments, is.Deployments, id)
			}
			before["here"] = *f.document("here")
			assert.Equal(t, contracts.ConditionTrue, f.status("web").Condition(contracts.ConditionAvailable).Status)
		}
	})
}
