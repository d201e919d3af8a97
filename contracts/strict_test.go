package contracts_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

// strictManifest is a whole manifest on one line, to be broken by replacement.
const strictManifest = `{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Deployment",` +
	`"metadata":{"name":"web","labels":{"team":"edge"}},` +
	`"spec":{"targetSelector":{"matchLabels":{"site":"paris"},"matchExpressions":[{"key":"ring","operator":"In","values":["a","b"]}]},` +
	`"score":{"type":"PodmanV0","data":{"services":[{"name":"web","image":"web:1","env":{"A":"1"},"args":["x"],"resources":{"cpu":"1"},"healthcheck":{"command":"check","interval":"10s"}}],` +
	`"initContainers":[{"name":"init","image":"web:1","timeoutSeconds":60}],"lifecycle":{"gracePeriodSeconds":10}}},` +
	`"rollout":{"strategy":"Rolling","maxUnavailable":"10%","minReady":"30s"}}}`

func TestDecodeStrictNamesThePlace(t *testing.T) {
	_, err := DecodeStrict[Manifest]([]byte(strictManifest))
	require.NoError(t, err)

	const service = "spec.score.data.services[0]"
	tests := []struct{ name, old, new, field, reason string }{
		{"unknown at the top", `"kind"`, `"status":{},"kind"`, "status", "is not a known field; known here: apiVersion, kind, metadata, spec"},
		{"unknown below", `"name":"web","labels"`, `"nam":"web","labels"`, "metadata.nam", "known here: annotations, labels, name, namespace"},
		{"unknown in the spec", `"rollout"`, `"roll":{},"rollout"`, "spec.roll", "known here: rollout, score, targetSelector"},
		{"unknown in a list", `"operator"`, `"op":"In","operator"`, "spec.targetSelector.matchExpressions[0].op", "known here: key, operator, values"},
		{"unknown in the score", `"type"`, `"typ":"","type"`, "spec.score.typ", "known here: data, type"},
		{"unknown in the data", `"initContainers"`, `"init":[],"initContainers"`, "spec.score.data.init", "known here: initContainers, lifecycle, services"},
		{"unknown in a service", `"image":"web:1","env"`, `"image":"web:1","envs":{},"env"`, service + ".envs", "healthcheck, image, name, ports"},
		{"unknown below a pointer", `"interval"`, `"every":"1s","interval"`, service + ".healthcheck.every", "known here: command, interval, retries, startPeriod, timeout"},
		{"field of services alone", `"timeoutSeconds":60`, `"ports":[]`, "spec.score.data.initContainers[0].ports", "is not a known field"},

		{"another case", `"kind"`, `"Kind"`, "Kind", "is not a known field; write kind"},
		{"another case of an embedded field", `"image":"web:1","env"`, `"Image":"web:1","env"`, service + ".Image", "write image"},
		{"another case below", `"targetSelector"`, `"targetselector"`, "spec.targetselector", "write targetSelector"},

		{"twice at the top", `"kind"`, `"kind":"Other","kind"`, "kind", "is written twice"},
		{"twice in a map", `"team":"edge"`, `"team":"edge","team":"x"`, "metadata.labels.team", "is written twice"},
		{"twice in the data", `"env":{"A":"1"}`, `"env":{"A":"1","A":"2"}`, service + ".env.A", "is written twice"},
		{"twice an embedded field", `"image":"web:1","env"`, `"image":"evil:1","image":"web:1","env"`, service + ".image", "is written twice"},
		{"twice the data", `"type"`, `"data":{},"type"`, "spec.score.data", "is written twice"},

		{"null in a list", `"args":["x"]`, `"args":["x",null]`, service + ".args[1]", "must be a string, is null"},
		{"null in a map", `"A":"1"`, `"A":null`, service + ".env.A", "must be a string, is null"},
		{"null for an object of a list", `"matchExpressions":[`, `"matchExpressions":[null,`, "spec.targetSelector.matchExpressions[0]", "must be an object, is null"},
		{"null in a command", `"command":"check"`, `"command":["check",null]`, service + ".healthcheck.command", "must be a list of strings, or one string"},

		{"number for a text", `"image":"web:1","env"`, `"image":1,"env"`, service + ".image", "must be a string, is a JSON number"},
		{"text for a number", `"timeoutSeconds":60`, `"timeoutSeconds":"60"`, "spec.score.data.initContainers[0].timeoutSeconds", "must be a whole number from 0 to 4294967295, is a JSON string"},
		{"number out of range", `"timeoutSeconds":60`, `"timeoutSeconds":4294967296`, "spec.score.data.initContainers[0].timeoutSeconds", "is 4294967296"},
		{"negative number", `"gracePeriodSeconds":10`, `"gracePeriodSeconds":-1`, "spec.score.data.lifecycle.gracePeriodSeconds", "is -1"},
		{"list for a map", `{"matchLabels":{"site":"paris"}`, `{"matchLabels":["site"]`, "spec.targetSelector.matchLabels", "must be an object, is a JSON list"},

		{"duration without a unit", `"interval":"10s"`, `"interval":10`, service + ".healthcheck.interval", `must be a duration with a unit, such as "30s"`},
		{"duration without a unit as text", `"minReady":"30s"`, `"minReady":"30"`, "spec.rollout.minReady", `must be a duration with a unit`},
		{"duration as a list", `"minReady":"30s"`, `"minReady":["30s"]`, "spec.rollout.minReady", `must be a duration with a unit`},
		{"amount", `"maxUnavailable":"10%"`, `"maxUnavailable":true`, "spec.rollout.maxUnavailable", `"true" is not an amount`},
		{"data is null", `"score":{"type":"PodmanV0","data":{`, `"score":{"type":"PodmanV0","data":null,"x":{`, "spec.score.x", "is not a known field"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, 1, strings.Count(strictManifest, test.old), "the test's own replacement of %s", test.old)
			broken := strings.Replace(strictManifest, test.old, test.new, 1)
			_, err := DecodeStrict[Manifest]([]byte(broken))
			assertFieldError(t, err, test.field, test.reason)
		})
	}
}

// Between programs the same documents are read leniently, but for the score of
// a manifest, which a person wrote.
func TestDecodeIgnoresWhatStrictRefuses(t *testing.T) {
	for _, change := range []string{`"status":{},"kind"`, `"kind":"Other","kind"`} {
		_, err := Decode[Manifest]([]byte(strings.Replace(strictManifest, `"kind"`, change, 1)))
		require.NoError(t, err)
	}
	_, err := Decode[Manifest]([]byte(strings.Replace(strictManifest, `"timeoutSeconds"`, `"timeout"`, 1)))
	assertFieldError(t, err, "spec.score.data.initContainers[0].timeout", "is not a known field")
}

func TestStrictReadsEveryGoldenFile(t *testing.T) {
	for _, g := range goldens() {
		if m, ok := g.value.(Manifest); ok {
			decoded, err := DecodeStrict[Manifest](compact(t, g))
			require.NoError(t, err)
			assert.Equal(t, m, decoded)
		}
	}
	for _, score := range []struct {
		name string
		kind ScoreType
	}{{"score-podman-v0", ScorePodmanV0}, {"score-process-v0", ScoreProcessV0}} {
		data := compact(t, golden{name: score.name})
		require.NoError(t, ReconcileScore{Type: score.kind, Data: data}.Validate())
	}
}
