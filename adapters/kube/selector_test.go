package kube_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/nationtech/harmony-fleet/contracts"
)

// The fleet's selectors mean what Kubernetes' mean, and the same ones are
// valid.
func TestSelectorsAgreeWithKubernetes(t *testing.T) {
	t.Parallel()
	const seed, cases = 20260501, 100_000
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's dice
	valid, matching := 0, 0
	for i := range cases {
		ours, theirs := randomSelector(random)
		verdict := ours.Validate()
		found := validation.ValidateLabelSelector(theirs, validation.LabelSelectorValidationOptions{}, field.NewPath("selector"))
		require.Equal(t, len(found) == 0, verdict == nil, "case %d of seed %d: %+v: ours %v, theirs %v", i, seed, ours, verdict, found)
		if verdict != nil {
			continue
		}
		valid++
		selector, err := metav1.LabelSelectorAsSelector(theirs)
		require.NoError(t, err)
		for range 3 {
			set := randomLabels(random)
			match := ours.Matches(set)
			require.Equal(t, selector.Matches(labels.Set(set)), match, "case %d of seed %d: %+v on %v", i, seed, ours, set)
			if match {
				matching++
			}
		}
	}
	require.Greater(t, valid, cases/4, "enough of them are valid")
	require.Greater(t, matching, cases/20, "enough of them match")
}

func pick[T any](random *rand.Rand, list ...T) T { return list[random.IntN(len(list))] }

func randomKey(random *rand.Rand) string {
	if random.IntN(12) > 0 {
		return pick(random, "a", "b", "c", "site", "fleet.nationtech.io/device", "x.y/z")
	}
	return pick(random, "", "/", "a/", "/a", "A/b", "a/b/c", "-a", "a-", "a b", "ä", "a_b.c", "a..b/c", "_", fmt.Sprintf("k%070d", 1))
}

func randomValue(random *rand.Rand) string {
	if random.IntN(12) > 0 {
		return pick(random, "", "1", "2", "paris", "lyon")
	}
	return pick(random, "-", "a b", "a-", "ä", "A.b_c", "a/b", fmt.Sprintf("%063d", 1), fmt.Sprintf("%064d", 1))
}

func randomSelector(random *rand.Rand) (contracts.LabelSelector, *metav1.LabelSelector) {
	var ours contracts.LabelSelector
	theirs := &metav1.LabelSelector{}
	for range random.IntN(3) {
		if ours.MatchLabels == nil {
			ours.MatchLabels = map[string]string{}
		}
		ours.MatchLabels[randomKey(random)] = randomValue(random)
	}
	theirs.MatchLabels = ours.MatchLabels
	for range random.IntN(3) {
		requirement := contracts.SelectorRequirement{
			Key:      randomKey(random),
			Operator: pick(random, contracts.SelectorIn, contracts.SelectorNotIn, contracts.SelectorExists, contracts.SelectorDoesNotExist),
		}
		listed := requirement.Operator == contracts.SelectorIn || requirement.Operator == contracts.SelectorNotIn
		if listed != (random.IntN(10) == 0) {
			for range 1 + random.IntN(3) {
				requirement.Values = append(requirement.Values, randomValue(random))
			}
		}
		if random.IntN(50) == 0 {
			requirement.Operator = pick[contracts.SelectorOperator](random, "", "in", "Gt", "Equals")
		}
		ours.MatchExpressions = append(ours.MatchExpressions, requirement)
		theirs.MatchExpressions = append(theirs.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: requirement.Key, Operator: metav1.LabelSelectorOperator(requirement.Operator), Values: requirement.Values,
		})
	}
	return ours, theirs
}

func randomLabels(random *rand.Rand) map[string]string {
	set := map[string]string{}
	for range random.IntN(5) {
		set[pick(random, "a", "b", "c", "site", "fleet.nationtech.io/device", "x.y/z")] = pick(random, "", "1", "2", "paris", "lyon")
	}
	return set
}
