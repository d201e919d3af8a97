// Package selector reads label selectors as kubectl writes them:
// "site=paris,ring!=0,tier in (a,b),!spare,rack".
package selector

import (
	"fmt"
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Parse returns the selector; the empty text chooses everything.
func Parse(text string) (contracts.LabelSelector, error) {
	var selector contracts.LabelSelector
	if strings.TrimSpace(text) == "" {
		return selector, nil
	}
	for _, part := range split(text) {
		requirement, err := parseRequirement(strings.TrimSpace(part))
		if err != nil {
			return contracts.LabelSelector{}, err
		}
		if err := requirement.Validate(); err != nil {
			return contracts.LabelSelector{}, fmt.Errorf("selector %q: %w", part, err)
		}
		selector.MatchExpressions = append(selector.MatchExpressions, requirement)
	}
	return selector, nil
}

// split cuts at the commas outside of parentheses.
func split(text string) []string {
	var parts []string
	begin, depth := 0, 0
	for i, c := range text {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			parts = append(parts, text[begin:i])
			begin = i + 1
		}
	}
	return append(parts, text[begin:])
}

func parseRequirement(text string) (contracts.SelectorRequirement, error) {
	if key, ok := strings.CutPrefix(text, "!"); ok {
		return contracts.SelectorRequirement{Key: strings.TrimSpace(key), Operator: contracts.SelectorDoesNotExist}, nil
	}
	if key, value, ok := strings.Cut(text, "!="); ok {
		return requirement(key, contracts.SelectorNotIn, value), nil
	}
	if key, value, ok := strings.Cut(text, "="); ok {
		return requirement(key, contracts.SelectorIn, strings.TrimPrefix(value, "=")), nil
	}
	words, values, isSet := strings.Cut(text, "(")
	fields := strings.Fields(words)
	switch {
	case !isSet && len(fields) == 1:
		return contracts.SelectorRequirement{Key: fields[0], Operator: contracts.SelectorExists}, nil
	case isSet && len(fields) == 2 && strings.HasSuffix(values, ")"):
		list := strings.Split(strings.TrimSuffix(values, ")"), ",")
		switch fields[1] {
		case "in":
			return requirement(fields[0], contracts.SelectorIn, list...), nil
		case "notin":
			return requirement(fields[0], contracts.SelectorNotIn, list...), nil
		}
	}
	return contracts.SelectorRequirement{}, fmt.Errorf(`selector %q is not understood: write key=value, key!=value, "key in (a,b)", "key notin (a,b)", key or '!key', separated by commas`, text)
}

func requirement(key string, operator contracts.SelectorOperator, values ...string) contracts.SelectorRequirement {
	for i := range values {
		values[i] = strings.TrimSpace(values[i])
	}
	return contracts.SelectorRequirement{Key: strings.TrimSpace(key), Operator: operator, Values: values}
}

// Format is the inverse of Parse; a selector that chooses everything is "".
func Format(selector contracts.LabelSelector) string {
	var parts []string
	parts = append(parts, FormatLabels(selector.MatchLabels)...)
	for _, r := range selector.MatchExpressions {
		switch r.Operator {
		case contracts.SelectorIn:
			parts = append(parts, formatSet(r, "=", "in"))
		case contracts.SelectorNotIn:
			parts = append(parts, formatSet(r, "!=", "notin"))
		case contracts.SelectorExists:
			parts = append(parts, r.Key)
		case contracts.SelectorDoesNotExist:
			parts = append(parts, "!"+r.Key)
		}
	}
	return strings.Join(parts, ",")
}

func formatSet(r contracts.SelectorRequirement, one, many string) string {
	if len(r.Values) == 1 {
		return r.Key + one + r.Values[0]
	}
	return fmt.Sprintf("%s %s (%s)", r.Key, many, strings.Join(r.Values, ","))
}
