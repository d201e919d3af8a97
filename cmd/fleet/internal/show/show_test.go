package show_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/show"
)

func TestYAMLHoldsTheSameAsJSON(t *testing.T) {
	value := map[string]any{
		"texts":  []string{"", "plain", "/bin/true", "yes", "On", "null", "1.10", "0755", "a: b", "- x", "#", "tab\there", "two\nlines", "\x7f\u0085", "é", "8080:80", "~", "{{ x }}"},
		"number": 12345678901234567, "float": 1.5, "true": true, "none": nil, "empty": []int{}, "object": map[string]int{},
		"y": map[string]any{"8": "x"},
	}
	var text bytes.Buffer
	require.NoError(t, show.Write(&text, show.FormatYAML, value))
	var fromYAML any
	require.NoError(t, yaml.Unmarshal(text.Bytes(), &fromYAML), text.String())
	again, err := json.Marshal(fromYAML)
	require.NoError(t, err)
	want, err := json.Marshal(value)
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(again))
	assert.Contains(t, text.String(), "- /bin/true\n")
	assert.Contains(t, text.String(), `"y":`)
}

func TestYAMLKeepsTheOrder(t *testing.T) {
	var text bytes.Buffer
	require.NoError(t, show.Write(&text, show.FormatYAML, show.NewList([]show.Event{{Kind: "DeviceOnline", Device: "a", Message: "x"}})))
	assert.Equal(t, `items:
  - time: "0001-01-01T00:00:00Z"
    kind: DeviceOnline
    device: a
    message: x
`, text.String())
}

func TestTableIsCleanAndAligned(t *testing.T) {
	var text strings.Builder
	table := show.NewTable(&text, "NAME", "MESSAGE", "X")
	require.NoError(t, table.Write([]string{"a", "evil \x1b[2J\nline \u202e", "1"}, []string{"long-name", "é", ""}))
	require.NoError(t, table.Write([]string{"b", "", "2"}))
	assert.Equal(t, ""+
		"NAME        MESSAGE            X\n"+
		"a           evil \ufffd[2J line \ufffd   1\n"+
		"long-name   é\n"+
		"b                              2\n", text.String())
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 310 * time.Second: "5m10s",
		179 * time.Minute: "179m", 200 * time.Minute: "3h20m", 47 * time.Hour: "47h", 50 * time.Hour: "2d2h", 300 * time.Hour: "12d",
	} {
		assert.Equal(t, want, show.Age(d))
	}
}
