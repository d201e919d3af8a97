package contracts_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "0", "pi-042", "a--b", strings.Repeat("a", 63)} {
		id, err := ParseDeviceID(good)
		require.NoError(t, err)
		assert.Equal(t, good, id.String())
		name, err := ParseDeploymentName(good)
		require.NoError(t, err)
		assert.Equal(t, good, name.String())
	}
	wrong := map[string]string{
		"":                      "must not be empty",
		strings.Repeat("a", 64): "must be at most 63 bytes, has 64",
		"-a":                    "must be lower-case letters, digits and inner hyphens (DNS-1123 label)",
		"a-":                    "inner hyphens",
		"A":                     `"A" must be lower-case`,
		"a.b":                   "DNS-1123", "a_b": "DNS-1123", "a b": "DNS-1123", "é": "DNS-1123",
		"a\n": "DNS-1123", "*": "DNS-1123", ">": "DNS-1123", "a/b": "DNS-1123", "{{ .device.id }}": "DNS-1123",
	}
	for text, reason := range wrong {
		_, err := ParseDeviceID(text)
		assertFieldError(t, err, "deviceID", reason)
		_, err = ParseDeploymentName(text)
		assertFieldError(t, err, "name", reason)
		assertFieldError(t, DeviceID(text).Validate(), "", reason)
		assertFieldError(t, DeploymentName(text).Validate(), "", reason)
	}
}

func TestLabelSyntax(t *testing.T) {
	good := Labels{
		"a": "", "site": "paris", "A.b_c-d": "X.y_z-0", "example.com/site": "1", "a/b": "c",
		strings.Repeat("k", 63): strings.Repeat("v", 63), strings.Repeat("p", 253) + "/a": "",
	}
	require.NoError(t, good.Validate())

	for _, key := range []string{
		"", "-a", "a-", ".a", "a_", "a b", "é", "a=b", strings.Repeat("k", 64),
		"/a", "a/", "a/b/c", "Example.com/a", "a..b/c", "-a.b/c", "a-/b", "a_b/c", strings.Repeat("p", 254) + "/a",
	} {
		assertFieldError(t, Labels{key: "v"}.Validate(), "", fmt.Sprintf("label key %q", key))
	}
	for _, value := range []string{"-", "a-", "_a", "a b", "é", "a/b", strings.Repeat("v", 64)} {
		assertFieldError(t, Labels{"site": value}.Validate(), "site", "must be at most 63 letters, digits, '-', '_' or '.'")
	}

	many := Labels{}
	for i := range 65 {
		many[fmt.Sprintf("k%d", i)] = ""
	}
	assertFieldError(t, many.Validate(), "", "has 65 labels, at most 64 are allowed")
	delete(many, "k0")
	require.NoError(t, many.Validate())
}

func TestPeoplesLabels(t *testing.T) {
	require.NoError(t, CheckPeoplesLabels(Labels{"site": "paris", "fleet.nationtech.io/other": ""}))
	assertFieldError(t, CheckPeoplesLabels(Labels{ReportedLabelPrefix + "model": "pi"}), "", "is what devices say about themselves")
	assertFieldError(t, CheckPeoplesLabels(Labels{DeviceLabel: "pi"}), "", "is set by the system to the device's ID")
	assertFieldError(t, CheckPeoplesLabels(Labels{"a b": ""}), "", "label key")
}

// A device cannot talk itself into another site or another device's place.
func TestEffectiveLabels(t *testing.T) {
	got := EffectiveLabels("pi-042",
		Labels{"site": "paris", ReportedLabelPrefix + "model": "forged", DeviceLabel: "pi-001"},
		Labels{"model": "pi5", "site": "rome", DeviceLabel: "pi-001", "example.com/site": "rome", ReportedLabelPrefix + "kernel": "x"},
	)
	assert.Equal(t, Labels{
		"site":                        "paris",
		ReportedLabelPrefix + "model": "pi5",
		ReportedLabelPrefix + "site":  "rome",
		DeviceLabel:                   "pi-042",
	}, got)
	assert.Equal(t, Labels{DeviceLabel: "pi"}, EffectiveLabels("pi", nil, nil))
}

func TestSelectorMatches(t *testing.T) {
	labels := map[string]string{"site": "paris", "ring": "a", "empty": ""}
	with := func(key string, operator SelectorOperator, values ...string) LabelSelector {
		return LabelSelector{MatchExpressions: []SelectorRequirement{{Key: key, Operator: operator, Values: values}}}
	}
	tests := []struct {
		name     string
		selector LabelSelector
		want     bool
	}{
		{"everything", LabelSelector{}, true},
		{"label", LabelSelector{MatchLabels: map[string]string{"site": "paris"}}, true},
		{"other value", LabelSelector{MatchLabels: map[string]string{"site": "rome"}}, false},
		{"missing key", LabelSelector{MatchLabels: map[string]string{"zone": "1"}}, false},
		{"empty value", LabelSelector{MatchLabels: map[string]string{"empty": ""}}, true},
		{"missing key is not the empty value", LabelSelector{MatchLabels: map[string]string{"zone": ""}}, false},
		{"one of two labels", LabelSelector{MatchLabels: map[string]string{"site": "paris", "ring": "b"}}, false},
		{"In", with("site", SelectorIn, "rome", "paris"), true},
		{"In others", with("site", SelectorIn, "rome"), false},
		{"In, missing key", with("zone", SelectorIn, "1", ""), false},
		{"NotIn", with("site", SelectorNotIn, "rome"), true},
		{"NotIn its own", with("site", SelectorNotIn, "rome", "paris"), false},
		{"NotIn, missing key", with("zone", SelectorNotIn, "1"), true},
		{"Exists", with("empty", SelectorExists), true},
		{"Exists, missing key", with("zone", SelectorExists), false},
		{"DoesNotExist", with("zone", SelectorDoesNotExist), true},
		{"DoesNotExist, present key", with("empty", SelectorDoesNotExist), false},
		{"unknown operator chooses nothing", with("site", "Like", "paris"), false},
		{"label and expression", LabelSelector{
			MatchLabels:      map[string]string{"site": "paris"},
			MatchExpressions: []SelectorRequirement{{Key: "ring", Operator: SelectorNotIn, Values: []string{"a"}}},
		}, false},
		{"two expressions", LabelSelector{MatchExpressions: []SelectorRequirement{
			{Key: "ring", Operator: SelectorExists},
			{Key: "site", Operator: SelectorIn, Values: []string{"paris"}},
		}}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, test.selector.Matches(labels))
		})
	}
	assert.True(t, LabelSelector{}.Matches(nil))
	assert.False(t, with("a", SelectorExists).Matches(nil))
}

func TestSelectorRules(t *testing.T) {
	valid := func() LabelSelector { return *selector() }
	checkRefusals(t, valid, []refusal[LabelSelector]{
		{"key", func(s *LabelSelector) { s.MatchLabels["a b"] = "" }, "matchLabels", `label key "a b"`},
		{"value", func(s *LabelSelector) { s.MatchLabels["site"] = "a b" }, "matchLabels.site", `label value "a b"`},
		{"expression's key", func(s *LabelSelector) { s.MatchExpressions[1].Key = "" }, "matchExpressions[1].key", "label key"},
		{"operator", func(s *LabelSelector) { s.MatchExpressions[0].Operator = "in" }, "matchExpressions[0].operator", `"in" is unknown: use In, NotIn, Exists or DoesNotExist`},
		{"NotIn nothing", func(s *LabelSelector) { s.MatchExpressions[0].Values = nil }, "matchExpressions[0].values", "must not be empty for operator NotIn"},
		{"In nothing", func(s *LabelSelector) { s.MatchExpressions[1].Operator = SelectorIn }, "matchExpressions[1].values", "must not be empty for operator In"},
		{"Exists with values", func(s *LabelSelector) { s.MatchExpressions[1].Values = []string{"a"} }, "matchExpressions[1].values", "must be empty for operator Exists"},
		{"DoesNotExist with values", func(s *LabelSelector) { s.MatchExpressions[0].Operator = SelectorDoesNotExist }, "matchExpressions[0].values", "must be empty for operator DoesNotExist"},
		{"expression's value", func(s *LabelSelector) { s.MatchExpressions[0].Values[1] = "-" }, "matchExpressions[0].values[1]", `label value "-"`},
	})
}
