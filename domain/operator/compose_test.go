package operator

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func composerForTests() *composer {
	return newComposer(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), "1.2.3+x", 30*time.Second)
}

// TestDocumentsHaveTheBytesOfContracts composes random documents and compares
// them with what contracts.Encode makes of the same content.
func TestDocumentsHaveTheBytesOfContracts(t *testing.T) {
	t.Parallel()
	c := composerForTests()
	labels := contracts.Labels{"site": "paris", "x.y/z": "A_b.c"}
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // repeatable on purpose
		want := contracts.DesiredState{
			Device: "d-1", Generation: 1 + random.Uint64N(contracts.MaxGeneration),
			AgentVersion: "1.2.3+x", HeartbeatInterval: contracts.Duration(30 * time.Second),
		}
		draft := begin(nil, "d-1")
		for n := range random.IntN(5) {
			name := contracts.DeploymentName(fmt.Sprintf("w%d", n))
			score := randomScore(t, random)
			spec := compile(name, random.Uint64N(1000)+1, score)
			require.Empty(t, spec.problem)
			require.NoError(t, draft.add(spec.handle, spec.generation, func(out []byte) ([]byte, error) {
				return spec.appendEntry(out, "d-1", func() contracts.Labels { return labels }, true)
			}))
			template, err := domain.ParseTemplate(score.Data)
			require.NoError(t, err)
			score.Data, err = template.Expand("d-1", labels)
			require.NoError(t, err)
			want.Deployments = append(want.Deployments, contracts.DesiredDeployment{Name: name, Generation: spec.generation, Score: score})
		}
		content := c.end(draft)
		require.NoError(t, draft.check())
		envelope, name := c.sign(draft.complete(nil, want.Generation))
		signed, err := contracts.Decode[contracts.Signed](envelope)
		require.NoError(t, err)
		encoded, err := contracts.Encode(want)
		require.NoError(t, err)
		require.Equal(t, string(encoded), string(signed.Document), "seed %d", seed)

		read, err := c.read(domain.DesiredDocument{Device: "d-1", Envelope: envelope, Revision: 7})
		require.NoError(t, err)
		require.Equal(t, record{revision: 7, generation: want.Generation, content: content, digest: name, entries: draft.entries}, read.record)
	}
}

func randomScore(t *testing.T, random *rand.Rand) contracts.ReconcileScore {
	t.Helper()
	texts := []string{"plain", "<&>\u2028", `quote " and \`, "{{ .device.id }}", "{{ .device.labels.site }}-{{ .device.labels.x.y/z }}", `{{ "{{" }}`}
	switch random.IntN(3) {
	case 0:
		return contracts.ReconcileScore{Type: `From<the>"Future"`, Data: json.RawMessage("{ \"a\" : [ 1, \"" + "x y" + "\" ] }")}
	case 1:
		data, err := json.MarshalIndent(contracts.ProcessV0{Services: []contracts.ProcessService{{
			Name: "main", Command: contracts.Command{"run", texts[random.IntN(len(texts))]}, Env: map[string]string{"A": texts[random.IntN(len(texts))]},
		}}}, "", "  ")
		require.NoError(t, err)
		return contracts.ReconcileScore{Type: contracts.ScoreProcessV0, Data: data}
	default:
		return podmanScore("v" + fmt.Sprint(random.IntN(9)))
	}
}

func podmanScore(tag string) contracts.ReconcileScore {
	return contracts.ReconcileScore{Type: contracts.ScorePodmanV0, Data: json.RawMessage(
		`{"services":[{"name":"web","image":"registry.example/web:` + tag + `","ports":["8080:80"],"env":{"SITE":"{{ .device.labels.site }}","ID":"{{ .device.id }}"}}]}`)}
}

func TestADocumentIsReadOnlyWhenItIsOurs(t *testing.T) {
	t.Parallel()
	c := composerForTests()
	draft := begin(nil, "d1")
	c.end(draft)
	envelope, _ := c.sign(draft.complete(nil, 3))
	for name, edit := range map[string]func(*domain.DesiredDocument){
		"another device's": func(d *domain.DesiredDocument) { d.Device = "d2" },
		"another key's": func(d *domain.DesiredDocument) {
			other := newComposer(ed25519.NewKeyFromSeed([]byte("another seed of thirty-two bytes")), "", time.Minute)
			d.Envelope, _ = other.sign(draft.complete(nil, 3))
		},
		"another text": func(d *domain.DesiredDocument) {
			d.Envelope = []byte(`{"document":{"device":"d1"},` + string(d.Envelope[len(`{"document":`)+draft.split:]))
		},
		"not JSON": func(d *domain.DesiredDocument) { d.Envelope = d.Envelope[:10] },
	} {
		stored := domain.DesiredDocument{Device: "d1", Envelope: envelope}
		_, err := c.read(stored)
		require.NoError(t, err)
		edit(&stored)
		_, err = c.read(stored)
		assert.Error(t, err, name)
	}
}

// TestDraftsRefuseWhatDevicesCouldNotRead compares the bound of this package
// with that of contracts.
func TestDraftsRefuseWhatDevicesCouldNotRead(t *testing.T) {
	t.Parallel()
	c := composerForTests()
	for _, count := range []int{maxEntries, maxEntries + 1} {
		draft := begin(nil, "d1")
		for n := range count {
			spec := compile(contracts.DeploymentName(fmt.Sprintf("w%04d", n)), 1, contracts.ReconcileScore{Type: "T", Data: json.RawMessage("1")})
			require.NoError(t, draft.add(spec.handle, 1, func(out []byte) ([]byte, error) { return spec.appendEntry(out, "d1", nil, true) }))
		}
		c.end(draft)
		envelope, _ := c.sign(draft.complete(nil, 1))
		_, err := c.read(domain.DesiredDocument{Device: "d1", Envelope: envelope})
		assert.Equal(t, err == nil, draft.check() == nil, "%d deployments: %v", count, err)
		assert.Equal(t, count <= maxEntries, err == nil)
	}
	draft := begin(nil, "d1")
	spec := compile("big", 1, contracts.ReconcileScore{Type: "T", Data: json.RawMessage(`"` + string(make512k()) + `"`)})
	require.NoError(t, draft.add(spec.handle, 1, func(out []byte) ([]byte, error) { return spec.appendEntry(out, "d1", nil, true) }))
	c.end(draft)
	assert.ErrorIs(t, draft.check(), domain.ErrInvalid)
}

func make512k() []byte {
	text := make([]byte, contracts.MaxDocumentBytes)
	for i := range text {
		text[i] = 'x'
	}
	return text
}

func TestLabelSets(t *testing.T) {
	t.Parallel()
	labels := contracts.Labels{"a": "", "x.y/z": "A_b.c", "site": "paris"}
	assert.Equal(t, labels, packLabels(labels).labels())
	assert.Equal(t, packLabels(labels), packLabels(contracts.Labels{"site": "paris", "x.y/z": "A_b.c", "a": ""}))
	assert.NotEqual(t, packLabels(labels), packLabels(contracts.Labels{"site": "paris"}))
	assert.Equal(t, labelSet{}, packLabels(nil))
	assert.Nil(t, labelSet{}.labels())
}
