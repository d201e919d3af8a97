package selector_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/selector"
	"github.com/nationtech/harmony-fleet/contracts"
)

func TestParseAndFormat(t *testing.T) {
	paris := map[string]string{"site": "paris", "ring": "1"}
	for text, want := range map[string]struct {
		form    string
		matches bool
	}{
		"":                           {"", true},
		"site=paris":                 {"site=paris", true},
		"site == paris , ring":       {"site=paris,ring", true},
		"site!=paris":                {"site!=paris", false},
		"site in (lyon, paris),!x":   {"site in (lyon,paris),!x", true},
		"site notin (lyon,paris)":    {"site notin (lyon,paris)", false},
		"ring in (1),site in (nice)": {"ring=1,site=nice", false},
		"spare!=yes":                 {"spare!=yes", true},
		"a.example/key=":             {"a.example/key=", false},
	} {
		parsed, err := selector.Parse(text)
		require.NoError(t, err, text)
		assert.Equal(t, want.form, selector.Format(parsed), text)
		assert.Equal(t, want.matches, parsed.Matches(paris), text)
		again, err := selector.Parse(want.form)
		require.NoError(t, err, text)
		assert.Equal(t, parsed, again, text)
	}
	assert.Equal(t, "a=1,b=2,c", selector.Format(contracts.LabelSelector{
		MatchLabels:      map[string]string{"b": "2", "a": "1"},
		MatchExpressions: []contracts.SelectorRequirement{{Key: "c", Operator: contracts.SelectorExists}},
	}))
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"a,,b", "=x", "a=b=c", "a in b", "a in (b", "a within (b)", "a b", "!", "-a=b", "a in (b))", "a>1"} {
		_, err := selector.Parse(text)
		require.Error(t, err, text)
	}
}
