package manifest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/manifest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// The broken manifests of tests/testdata/bad are run through the real command
// in package main; here are the ones that must pass.

const good = `# comment
apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata:
  name: web
  labels: {team: shop}
  annotations:
    fleet.nationtech.io/change-cause: because
spec:
  targetSelector: {matchLabels: {site: paris}}
  score:
    type: ProcessV0
    data:
      services:
        - &first
          name: a
          command: /bin/true
          env: &env {PORT: "8080", SITE: '{{ .device.labels.site }}', AGREED: "yes"}
          restart: "no"
        - <<: *first
          name: b
          env:
            <<: [*env, {MORE: !!str 5}]
            PORT: "9090"
`

func TestRead(t *testing.T) {
	documents, mistakes := manifest.Read("good.yaml", []byte(good+"---\n\n---\n"+strings.Replace(good, "name: web", "name: api", 1)))
	require.Empty(t, mistakes)
	require.Len(t, documents, 2)
	web := documents[0]
	assert.Equal(t, 2, web.Line)
	assert.Equal(t, contracts.DeploymentName("web"), web.Deployment.Name)
	assert.Equal(t, contracts.Labels{"team": "shop"}, web.Deployment.Labels)
	assert.Equal(t, "because", web.Deployment.ChangeCause)
	assert.Equal(t, contracts.OriginCLI, web.Deployment.Origin)
	score, err := web.Deployment.Spec.Score.ProcessV0()
	require.NoError(t, err)
	require.Len(t, score.Services, 2)
	assert.Equal(t, contracts.RestartNever, score.Services[1].Restart)
	assert.Equal(t, contracts.Command{"/bin/true"}, score.Services[1].Command)
	assert.Equal(t, map[string]string{"PORT": "9090", "SITE": "{{ .device.labels.site }}", "AGREED": "yes", "MORE": "5"}, score.Services[1].Env)
	assert.Equal(t, contracts.DeploymentName("api"), documents[1].Deployment.Name)
}

func TestReadTakesJSON(t *testing.T) {
	golden, err := os.ReadFile("../../../../contracts/testdata/v1/manifest.json")
	require.NoError(t, err)
	_, mistakes := manifest.Read("manifest.json", golden)
	require.Len(t, mistakes, 1, "Rolling is not built yet")
	assert.Equal(t, "spec.rollout.strategy", mistakes[0].Field)
	assert.NotZero(t, mistakes[0].Line)
}

func TestReadTellsOfEachDocument(t *testing.T) {
	documents, mistakes := manifest.Read("f", []byte("kind: X\n---\n"+good+"---\nkind: Q\n---\n]"))
	assert.Len(t, documents, 1)
	require.Len(t, mistakes, 3)
	assert.Equal(t, `f:1: apiVersion: must be "fleet.nationtech.io/v1alpha1", is ""`, mistakes[0].Error())
}

func TestMistakesDoNotTellSecrets(t *testing.T) {
	for _, env := range []string{"{TOKEN: 12345678}", "{TOKEN: [hunter2]}", "{TOKEN: 0x1337}", "['TOKEN=hunter2']"} {
		text := strings.Replace(good, `env: &env {PORT: "8080", SITE: '{{ .device.labels.site }}', AGREED: "yes"}`, "env: &env "+env, 1)
		_, mistakes := manifest.Read("f", []byte(text))
		require.Len(t, mistakes, 1, env)
		for _, secret := range []string{"hunter2", "12345678", "1337"} {
			assert.NotContains(t, mistakes[0].Error(), secret)
		}
	}
}

func TestChangeCauseHasABound(t *testing.T) {
	_, mistakes := manifest.Read("f", []byte(strings.Replace(good, "because", strings.Repeat("x", 2000), 1)))
	require.Len(t, mistakes, 1)
	assert.Equal(t, 8, mistakes[0].Line)
	assert.Equal(t, "metadata.annotations.fleet.nationtech.io/change-cause", mistakes[0].Field)
}

func TestHugeFile(t *testing.T) {
	_, mistakes := manifest.Read("f", make([]byte, manifest.MaxFileBytes+1))
	require.Len(t, mistakes, 1)
	assert.Equal(t, "f: has more than 4194304 bytes: is this a manifest?", mistakes[0].Error())

	_, mistakes = manifest.Read("f", []byte(strings.Replace(good, "because", strings.Repeat("x", contracts.MaxDocumentBytes), 1)))
	require.Len(t, mistakes, 1)
	assert.Contains(t, mistakes[0].Error(), "the document has more than 524288 bytes")
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	write("b.yaml", strings.Replace(good, "name: web", "name: b", 1))
	write("a.yml", strings.Replace(good, "name: web", "name: a", 1))
	write("README.md", "not a manifest")
	documents, err := manifest.Load([]string{dir, "-"}, strings.NewReader(good))
	require.NoError(t, err)
	var names []contracts.DeploymentName
	for _, document := range documents {
		names = append(names, document.Deployment.Name)
	}
	assert.Equal(t, []contracts.DeploymentName{"a", "b", "web"}, names)

	_, err = manifest.Load([]string{dir, "-"}, strings.NewReader(strings.Replace(good, "name: web", "name: a", 1)))
	require.EqualError(t, err, `stdin:2: metadata.name: "a" is declared already in `+filepath.Join(dir, "a.yml")+`:2; nothing was applied`)

	_, err = manifest.Load([]string{filepath.Join(dir, "none.yaml"), filepath.Join(dir, "README.md")}, nil)
	require.EqualError(t, err, "2 mistakes, nothing was applied:\n  "+filepath.Join(dir, "none.yaml")+": no such file or directory\n  "+
		filepath.Join(dir, "README.md")+`:1: is not a manifest: it must begin with fields such as "apiVersion: fleet.nationtech.io/v1alpha1"`)
	require.ErrorIs(t, err, os.ErrNotExist)

	_, err = manifest.Load([]string{t.TempDir()}, nil)
	require.ErrorContains(t, err, "holds no .yaml, .yml or .json file")
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(good))
	files, err := filepath.Glob("../../../../tests/testdata/bad/*.yaml")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		documents, mistakes := manifest.Read("f", data)
		if len(documents)+len(mistakes) == 0 {
			t.Fatal("neither a document nor a mistake")
		}
		for _, document := range documents {
			if err := domain.CheckDeployment(document.Deployment); err != nil {
				t.Fatalf("accepted: %v", err)
			}
		}
		for _, mistake := range mistakes {
			if mistake.Reason == "" || mistake.Line < 0 || mistake.Line > len(data)+1 {
				t.Fatalf("no place or no reason: %#v", mistake)
			}
		}
	})
}
