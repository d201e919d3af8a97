package kube_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// golden returns a manifest of the wire contract.
func golden(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "contracts", "testdata", "v1", name))
	require.NoError(tb, err)
	return data
}

// manifestOf wraps a golden score into a manifest.
func manifestOf(tb testing.TB, kind contracts.ScoreType, score string) []byte {
	tb.Helper()
	manifest := contracts.Manifest{
		APIVersion: contracts.APIVersion,
		Kind:       contracts.KindDeployment,
		Metadata:   contracts.ManifestMetadata{Name: "web"},
		Spec: contracts.DeploymentSpec{
			TargetSelector: &contracts.LabelSelector{},
			Score:          contracts.ReconcileScore{Type: kind, Data: golden(tb, score)},
		},
	}
	data, err := contracts.Encode(manifest)
	require.NoError(tb, err)
	return data
}

func manifests(tb testing.TB) [][]byte {
	tb.Helper()
	return [][]byte{
		golden(tb, "manifest.json"),
		manifestOf(tb, contracts.ScorePodmanV0, "score-podman-v0.json"),
		manifestOf(tb, contracts.ScoreProcessV0, "score-process-v0.json"),
	}
}

// FuzzSpecRoundTrip: what the domain accepts comes back from a resource with
// the same meaning, and from then on with the same bytes.
func FuzzSpecRoundTrip(f *testing.F) {
	for _, manifest := range manifests(f) {
		f.Add(manifest)
	}
	f.Add([]byte(`{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Deployment","metadata":{"name":"a"},"spec":{"targetSelector":` +
		`{"matchExpressions":[{"key":"a/b","operator":"NotIn","values":["","x"]}]},"score":{"type":"ProcessV0","data":{"services":` +
		`[{"name":"a","command":"x <&> {{ .device.id }}","env":{"A":""}}],"lifecycle":{"gracePeriodSeconds":0}}},` +
		`"rollout":{"maxUnavailable":"010%","maxFailures":0,"minReady":"1h30m","strategy":"Staged"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		manifest, err := contracts.DecodeStrict[contracts.Manifest](data)
		if err != nil {
			return
		}
		shown, err := kube.SpecFromDomain(manifest.Spec)
		require.NoError(t, err)
		// Through the API server's own form.
		var resource v1alpha1.DeploymentSpec
		wire, err := json.Marshal(shown)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(wire, &resource))
		back, err := kube.SpecToDomain(resource)
		require.NoError(t, err)

		require.NoError(t, back.Validate())
		assert.Equal(t, meaning(t, manifest.Spec), meaning(t, back))
		again, err := kube.SpecFromDomain(back)
		require.NoError(t, err)
		twice, err := kube.SpecToDomain(again)
		require.NoError(t, err)
		require.Equal(t, back, twice)
	})
}

// meaning is a spec without the freedom of its form.
func meaning(t *testing.T, spec contracts.DeploymentSpec) string {
	t.Helper()
	var data any
	var err error
	switch spec.Score.Type {
	case contracts.ScorePodmanV0:
		data, err = spec.Score.PodmanV0()
	default:
		data, err = spec.Score.ProcessV0()
	}
	require.NoError(t, err)
	var plain any
	canonical, err := json.Marshal(data)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(canonical, &plain))
	text, err := json.Marshal(map[string]any{
		"selector": spec.TargetSelector, "type": spec.Score.Type, "data": prune(plain), "rollout": spec.Rollout,
	})
	require.NoError(t, err)
	return string(text)
}

// prune drops empty lists and objects, which mean the same as none.
func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			inner = prune(inner)
			if isEmpty(inner) && key != "env" {
				delete(v, key)
				continue
			}
			v[key] = inner
		}
		return v
	case []any:
		for i := range v {
			v[i] = prune(v[i])
		}
		return v
	default:
		return v
	}
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	default:
		return v == nil
	}
}

func TestAScoreOfANewerVersionIsNotShown(t *testing.T) {
	t.Parallel()
	_, err := kube.SpecFromDomain(contracts.DeploymentSpec{
		TargetSelector: &contracts.LabelSelector{},
		Score:          contracts.ReconcileScore{Type: "PodmanV9", Data: json.RawMessage(`{}`)},
	})
	require.ErrorIs(t, err, domain.ErrUnsupported)
}
