package podman

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func planOf(t *testing.T, score string) plan {
	t.Helper()
	decoded, err := contracts.ReconcileScore{Type: contracts.ScorePodmanV0, Data: json.RawMessage(score)}.PodmanV0()
	require.NoError(t, err)
	return newPlan(domain.Workload{Name: "app", Generation: 1}, decoded)
}

const fullScore = `{"services":[{"name":"web","image":"registry.example/web:1","command":["/web"],"args":["-v"],
	"env":{"B":"2","A":"1"},"volumes":["/srv:/data:ro"],"tmpfs":["/tmp"],"user":"1000:1000","capAdd":["NET_RAW"],"readOnly":true,
	"resources":{"cpu":"500m","memory":"64Mi","pids":50},"ports":["8080:80","127.0.0.1:53:53/udp"],"restart":"on-failure",
	"healthcheck":{"command":["/check"],"interval":"10s"}}],
	"initContainers":[{"name":"init","image":"registry.example/init:1","timeoutSeconds":5}],
	"lifecycle":{"stopSignal":"SIGINT","gracePeriodSeconds":7}}`

// If one of these hashes changes, every container of every fleet is restarted
// by the next agent. Add what is new with omitempty instead.
func TestHashesAreFrozen(t *testing.T) {
	full := planOf(t, fullScore)
	assert.Equal(t, "1fe22c2f157a014872071c63ec78bd212eab5f31e8cedf0b2210fc446d86ccb6", full.services[0].hash)
	assert.Equal(t, "f09a426a449a23ff68944284cde9d691bad8caaee81e5405a2f02ffbcdada542", full.inits[0].hash)
	small := planOf(t, `{"services":[{"name":"web","image":"web"}]}`)
	assert.Equal(t, "3187022878cc1b35bfe94e9c7ada7c88bf88664acdd5c2253a54aaa74bc5ed53", small.services[0].hash)
}

func TestHashes(t *testing.T) {
	hash := func(service, more string) string {
		return planOf(t, `{"services":[{"name":"web","image":"web"`+service+`}]`+more+`}`).services[0].hash
	}
	plain := hash("", "")
	for name, same := range map[string]string{
		"default restart":        hash(`,"restart":"always"`, ""),
		"default stop":           hash("", `,"lifecycle":{"stopSignal":"SIGTERM","gracePeriodSeconds":30}`),
		"how to get the image":   hash(`,"pullPolicy":"always"`, ""),
		"empty environment":      hash(`,"env":{}`, ""),
		"fields of newer scores": hash(`,"later":1`, ""),
	} {
		assert.Equal(t, plain, same, name)
	}
	for name, other := range map[string]string{
		"environment": hash(`,"env":{"A":"1"}`, ""), "volume": hash(`,"volumes":["a:/a"]`, ""), "restart": hash(`,"restart":"no"`, ""),
		"port": hash(`,"ports":["1:1"]`, ""), "grace": hash("", `,"lifecycle":{"gracePeriodSeconds":1}`),
		"init": hash("", `,"initContainers":[{"name":"i","image":"i"}]`),
	} {
		assert.NotEqual(t, plain, other, name)
	}
	assert.Equal(t, hash(`,"env":{"A":"1","B":"2"}`, ""), hash(`,"env":{"B":"2","A":"1"}`, ""))
}

func TestReferences(t *testing.T) {
	const sum = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for image, want := range map[string]reference{
		"web":                           {"docker.io", "library/web", "latest", ""},
		"team/web:1":                    {"docker.io", "team/web", "1", ""},
		"index.docker.io/web":           {"docker.io", "library/web", "latest", ""},
		"localhost/web":                 {"localhost", "web", "latest", ""},
		"127.0.0.1:5000/web":            {"127.0.0.1:5000", "web", "latest", ""},
		"registry.example:5000/a/b:1.2": {"registry.example:5000", "a/b", "1.2", ""},
		"registry.example/a@" + sum:     {"registry.example", "a", "", sum},
		"registry.example/a:1@" + sum:   {"registry.example", "a", "1", sum},
	} {
		assert.Equal(t, want, parseReference(image), image)
	}
	assert.Equal(t, "registry.example:5000/a@"+sum, canonical("registry.example:5000/a:1@"+sum))
	assert.Equal(t, "registry.example:5000/a:1", canonical("registry.example:5000/a:1"))
	other := "sha256:ffff"
	assert.Equal(t, sum, digestOf("web:1", []string{"elsewhere.example/web@" + other, "docker.io/library/web@" + sum}))
	assert.Equal(t, sum, digestOf("web@"+sum, []string{"web@" + other}))
	assert.Empty(t, digestOf("web:1", nil))
}

func TestCredentials(t *testing.T) {
	file := []byte(`{"auths":{"registry.example":{"auth":"dTpw"},"registry.example/team":{"auth":"dGVhbTpzOmVjcmV0"},
		"https://index.docker.io/v1/":{"identitytoken":"tok"},"empty.example":{}}}`)
	for image, want := range map[string]string{
		"registry.example/web": "u p", "registry.example/team/web:1": "team s:ecret", "web": " ", "empty.example/web": "none", "other.example/web": "none",
	} {
		found, err := parseAuth(file, parseReference(image))
		require.NoError(t, err)
		got := "none"
		if found != nil {
			got = found.Username + " " + found.Password
		}
		assert.Equal(t, want, got, image)
	}
	for _, damaged := range []string{"{", `{"auths":{"a.example":{"auth":"!"}}}`, `{"auths":{"a.example":{"auth":"bm9jb2xvbg=="}}}`} {
		_, err := parseAuth([]byte(damaged), parseReference("a.example/web"))
		require.ErrorIs(t, err, errMalformedAuth)
	}
}
