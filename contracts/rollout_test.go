package contracts_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

func TestRolloutRules(t *testing.T) {
	type r = *Rollout
	checkRefusals(t, rollout, []refusal[Rollout]{
		{"strategy", func(s r) { s.Strategy = "Recreate" }, "strategy", `"Recreate" is unknown: use AllAtOnce, Rolling or Staged`},
		{"failure", func(s r) { s.OnFailure = "Ignore" }, "onFailure", `"Ignore" is unknown: use Pause or Rollback`},
		{"negative time", func(s r) { s.MinReady = -1 }, "minReady", "must be from 0s to 24h0m0s"},
		{"long time", func(s r) { s.MinReady = Duration(24*time.Hour + 1) }, "minReady", "is out of range"},
		{"deadline", func(s r) { s.ProgressDeadline = Duration(8 * 24 * time.Hour) }, "progressDeadline", "192h0m0s is out of range: must be from 0s to 168h0m0s"},
	})
	for field, text := range map[string]string{
		"maxUnavailable":   `{"maxUnavailable":"ten"}`,
		"maxFailures":      `{"maxFailures":-1}`,
		"minReady":         `{"minReady":30}`,
		"progressDeadline": `{"progressDeadline":"10 minutes"}`,
	} {
		_, err := Decode[Rollout]([]byte(text))
		assertFieldError(t, err, field, "")
	}
	data, err := Encode(Rollout{})
	require.NoError(t, err)
	assert.JSONEq(t, `{}`, string(data), "what is unset is not written")
}

func TestAmounts(t *testing.T) {
	tests := []struct {
		text string
		of   int
		want int
	}{
		{"0", 10, 0},
		{"3", 10, 3},
		{"30", 10, 30},
		{"2147483647", 1, 2147483647},
		{"0%", 10, 0},
		{"10%", 10, 1},
		{"10%", 11, 2},
		{"1%", 1, 1},
		{"100%", 7, 7},
		{"50%", 0, 0},
		{"99%", 100_000, 99_000},
	}
	for _, test := range tests {
		amount, err := ParseAmount(test.text)
		require.NoError(t, err)
		assert.Equal(t, test.want, amount.Of(test.of), "%s of %d", test.text, test.of)
		assert.Equal(t, test.text, amount.String())
		assert.False(t, amount.IsZero())

		data, err := json.Marshal(amount)
		require.NoError(t, err)
		var again Amount
		require.NoError(t, json.Unmarshal(data, &again))
		assert.Equal(t, amount, again)
	}
	unset, err := ParseAmount("")
	require.NoError(t, err)
	assert.True(t, unset.IsZero())
	assert.Equal(t, 0, unset.Of(10))

	for _, text := range []string{"-1", "+1", "1.5", "1e3", "007", "00%", "101%", "1%%", "%", " 1", "ten", "2147483648", "0x1", "1_0"} {
		amount, err := ParseAmount(text)
		assertFieldError(t, err, "", `is not an amount: write a number of devices, or a percentage such as "10%"`)
		assert.True(t, amount.IsZero())
	}
}

// A number and its text are one amount.
func TestAmountForms(t *testing.T) {
	for _, text := range []string{`{"maxFailures":3}`, `{"maxFailures":"3"}`} {
		got, err := Decode[Rollout]([]byte(text))
		require.NoError(t, err)
		data, err := Encode(got)
		require.NoError(t, err)
		assert.Equal(t, `{"maxFailures":3}`, string(data))
	}
}

func TestDurations(t *testing.T) {
	assert.Equal(t, "1h30m0s", Duration(90*time.Minute).String())
	assert.Equal(t, 90*time.Minute, Duration(90*time.Minute).Std())
	for _, wrong := range []string{"30", `"30"`, `""`, `"abc"`, "true", "{}", "[]", "1e9", `"1d"`, `"99999999999h"`} {
		_, err := Decode[LeaseRecord]([]byte(`{"holder":"a","ttl":` + wrong + `}`))
		assertFieldError(t, err, "ttl", `must be a duration with a unit, such as "30s" or "10m"`)
		_, err = Decode[PingResult]([]byte(`{"agentVersion":"1","uptime":` + wrong + `}`))
		assertFieldError(t, err, "uptime", "must be a duration with a unit")
	}
}
