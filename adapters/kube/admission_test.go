package kube_test

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// mutation changes one place of a valid manifest.
type mutation struct {
	path  string
	value any
	// late: what is wrong with it is found by the fleet, and shown by the
	// condition Stalled, because a schema cannot say it.
	late bool
}

// remove takes the place away.
type remove struct{}

const (
	service  = "spec.score.data.services.0."
	rollout  = "spec.rollout."
	selector = "spec.targetSelector."
)

func mutations() []mutation {
	long := strings.Repeat("a", 64)
	many := func(n int) []any {
		list := make([]any, n)
		for i := range list {
			list[i] = "x" + strconv.Itoa(i)
		}
		return list
	}
	hash := strings.Repeat("0123456789abcdef", 4)
	list := []mutation{
		{path: "metadata.name", value: "a.b"},
		{path: "metadata.name", value: long},
		{path: "metadata.name", value: long[:63]},
		{path: "metadata.labels", value: map[string]any{"site": "paris"}},
		{path: "metadata.labels", value: map[string]any{"-": "x"}},
		{path: "spec", value: remove{}},
		{path: "spec.targetSelector", value: remove{}},
		{path: "spec.targetSelector", value: map[string]any{}},
		{path: "spec.targetSelector", value: "x"},
		{path: "spec.colour", value: "red"},
		{path: selector + "matchLabels", value: map[string]any{"site": "-"}},
		{path: selector + "matchLabels", value: map[string]any{"site": ""}},
		{path: selector + "matchLabels", value: map[string]any{"site": long}},
		{path: selector + "matchLabels", value: map[string]any{"site": long[:63]}},
		{path: selector + "matchLabels", value: map[string]any{"a b": "x"}, late: true},
		{path: selector + "matchLabels", value: map[string]any{"A.b/c": "x"}, late: true},
		{path: selector + "matchLabels", value: map[string]any{"device.fleet.nationtech.io/arch": "arm64"}},
		{path: "spec.score", value: remove{}},
		{path: "spec.score.type", value: remove{}},
		{path: "spec.score.type", value: "PodmanV1"},
		{path: "spec.score.type", value: ""},
		{path: "spec.score.data", value: remove{}},
		{path: "spec.score.data", value: map[string]any{}},
		{path: "spec.score.data", value: []any{}},
		{path: "spec.score.data.services", value: []any{}},
		{path: "spec.score.data.unknown", value: 1},
		{path: service + "name", value: remove{}},
		{path: service + "name", value: ""},
		{path: service + "name", value: "A"},
		{path: service + "name", value: "a.b"},
		{path: service + "name", value: long},
		{path: service + "name", value: "-a"},
		{path: service + "imgae", value: "x"},
		{path: service + "Image", value: "x"},
		{path: service + "args", value: many(256)},
		{path: service + "args", value: many(257)},
		{path: service + "args", value: "x"},
		{path: service + "args", value: []any{1}},
		{path: service + "args", value: []any{"a\x00b"}, late: true},
		{path: service + "env", value: map[string]any{"A": "b"}},
		{path: service + "env", value: map[string]any{"1A": "b"}, late: true},
		{path: service + "env", value: map[string]any{"A": 1}},
		{path: service + "env", value: map[string]any{"A-B": ""}, late: true},
		{path: service + "restart", value: "never"},
		{path: service + "restart", value: "no"},
		{path: service + "restart", value: "on-failure"},
		{path: service + "command", value: "run"},
		{path: service + "command", value: []any{"run", "{{ .device.id }}"}},
		{path: service + "command", value: []any{1}, late: true},
		{path: service + "command", value: map[string]any{}, late: true},
		{path: service + "command", value: []any{""}, late: true},
		{path: service + "args", value: []any{"{{ .device.labels.site }}"}},
		{path: service + "args", value: []any{"{{ .device.name }}"}, late: true},
		{path: service + "args", value: []any{"{{"}, late: true},
		{path: "spec.score.data.lifecycle", value: map[string]any{"stopSignal": "SIGFOO"}},
		{path: "spec.score.data.lifecycle", value: map[string]any{"stopSignal": "SIGINT", "gracePeriodSeconds": 0}},
		{path: "spec.score.data.lifecycle", value: map[string]any{"gracePeriodSeconds": 3601}},
		{path: "spec.score.data.lifecycle", value: map[string]any{"gracePeriodSeconds": -1}},
		{path: "spec.score.data.lifecycle", value: map[string]any{"gracePeriodSeconds": "30"}},
		{path: rollout + "strategy", value: "AllAtOnce"},
		{path: rollout + "strategy", value: "Recreate"},
		{path: rollout + "strategy", value: ""},
		{path: rollout + "onFailure", value: "Ignore"},
		{path: rollout + "onFailure", value: ""},
		{path: rollout + "unknown", value: "x"},
	}
	for _, strategy := range []string{"Rolling", "Staged"} {
		list = append(list, mutation{path: "spec.rollout", value: map[string]any{"strategy": strategy}, late: true})
	}
	for _, amount := range []any{-1, "-1", "101%", "1.5", "ten", "%", "007", 1.5, true} {
		list = append(list, mutation{path: rollout + "maxUnavailable", value: amount}, mutation{path: rollout + "maxFailures", value: amount})
	}
	for _, amount := range []any{0, 3, "3", "0%", "10%", "100%", "", 2147483647} {
		list = append(list, mutation{path: "spec.rollout", value: map[string]any{"maxFailures": amount, "strategy": "Rolling"}, late: true})
	}
	list = append(list, mutation{path: rollout + "maxFailures", value: "2147483648", late: true})
	for _, duration := range []any{"30", 30, "", "x", "1d", "10 m", "h", true} {
		list = append(list, mutation{path: rollout + "minReady", value: duration}, mutation{path: rollout + "progressDeadline", value: duration})
	}
	for _, duration := range []any{"-1s", "25h"} {
		list = append(list, mutation{path: rollout + "minReady", value: duration, late: true})
	}
	for _, requirement := range []map[string]any{
		{"key": "a", "operator": "In"},
		{"key": "a", "operator": "In", "values": []any{}},
		{"key": "a", "operator": "Exists", "values": []any{"x"}},
		{"key": "a", "operator": "Exists", "values": []any{}},
		{"key": "a", "operator": "Exists"},
		{"key": "a", "operator": "NotIn", "values": []any{"x", ""}},
		{"key": "a", "operator": "Gt", "values": []any{"x"}},
		{"key": "", "operator": "Exists"},
		{"key": "a/b/c", "operator": "Exists"},
		{"key": "a.b/c", "operator": "DoesNotExist"},
		{"key": "/c", "operator": "Exists"},
		{"key": "a/", "operator": "Exists"},
		{"key": "A/c", "operator": "Exists"},
		{"key": long, "operator": "Exists"},
		{"key": "a", "operator": "In", "values": []any{"x y"}},
		{"operator": "Exists"},
		{"key": "a"},
	} {
		list = append(list, mutation{path: selector + "matchExpressions", value: []any{requirement}})
	}
	return append(list, podmanMutations(long, hash)...)
}

// podmanMutations make no sense for a process, which they turn invalid too.
func podmanMutations(long, hash string) []mutation {
	var list []mutation
	add := func(field string, late bool, values ...any) {
		for _, value := range values {
			list = append(list, mutation{path: service + field, value: value, late: late})
		}
	}
	add("image", false, "nginx", "registry.example:5000/a/b:1.2", "a@sha256:"+hash, "{{ .device.labels.image }}", "", "-a", "a b",
		"a@sha256:"+hash[1:], "a@md5:"+hash, "a@sha256:"+strings.ToUpper(hash), "@sha256:"+hash, "a@b@sha256:"+hash, "ä", remove{})
	add("image", true, strings.Repeat("a", 513))
	add("pullPolicy", false, "missing", "always", "never", "", "Always")
	for _, port := range []any{
		"8080:80", "127.0.0.1:53:53/udp", "[::1]:80:80", "0080:80", "{{ .device.labels.port }}:80", "80", "80:80/sctp", ":80", "80:", "a:80",
		"::1:80:80", "80:80/", "+80:80", 80,
	} {
		list = append(list, mutation{path: service + "ports", value: []any{port}})
	}
	for _, port := range []any{"0:80", "80:65536", "1.2.3:80:80", "[::1%lo]:80:80", "[1.2.3.4]:80:80"} {
		late := port != "[::1%lo]:80:80"
		list = append(list, mutation{path: service + "ports", value: []any{port}, late: late})
	}
	list = append(list, mutation{path: service + "ports", value: []any{"80:80", "80:81"}, late: true})
	for _, volume := range []any{
		"data:/data", "/srv:/data:ro", "/:/host", "/srv/..a/.b:/x:rw", "{{ .device.id }}:/data", "data", "data:data", "data:/", "/a/../b:/x",
		"/a/:/x", "//a:/x", "/a/.:/x", "/a:/x/..", "/a:/x:rx", "a b:/x", "/a:/x:ro:rw", "/a,b:/x", long + ":/x", ":/x",
	} {
		list = append(list, mutation{path: service + "volumes", value: []any{volume}})
	}
	for _, path := range []any{"/tmp", "/", "tmp", "/tmp/", "/a/../b", "/a:b", "{{ .device.id }}", ""} {
		list = append(list, mutation{path: service + "tmpfs", value: []any{path}})
	}
	for _, capability := range []any{"NET_BIND_SERVICE", "net-raw", "", "1A"} {
		list = append(list, mutation{path: service + "capAdd", value: []any{capability}})
	}
	add("user", false, "root", "1000:1000", 1000)
	add("readOnly", false, true, "true")
	for _, resources := range []map[string]any{
		{"cpu": "0.5"},
		{"cpu": "500m"},
		{"cpu": ""},
		{"memory": "256Mi"},
		{"memory": "1000"},
		{"memory": "1G"},
		{"pids": 10},
		{"cpu": "{{ .device.labels.cpu }}"},
		{"cpu": "half"},
		{"cpu": "-1"},
		{"cpu": "1e3"},
		{"cpu": 1},
		{"memory": "1Ti"},
		{"memory": "1.5G"},
		{"memory": "-1"},
		{"pids": -1},
		{"pids": 4294967296},
		{"pids": "1"},
		{"swap": "1G"},
	} {
		list = append(list, mutation{path: service + "resources", value: resources})
	}
	for _, resources := range []map[string]any{{"cpu": "0"}, {"cpu": "1.2.3"}, {"cpu": "1001"}, {"memory": "0"}, {"memory": "99999999999999999999"}} {
		list = append(list, mutation{path: service + "resources", value: resources, late: true})
	}
	for _, check := range []map[string]any{
		{"command": "x"},
		{"command": []any{"x", "y"}, "interval": "10s", "timeout": "1s", "startPeriod": "1m", "retries": 5},
		{"interval": "10s"},
		{"command": "x", "retries": 101},
		{"command": "x", "interval": "10"},
		{"command": "x", "colour": "red"},
	} {
		list = append(list, mutation{path: service + "healthcheck", value: check})
	}
	for _, check := range []map[string]any{{"command": []any{}}, {"command": "x", "interval": "25h"}, {"command": "x", "timeout": "-1s"}} {
		list = append(list, mutation{path: service + "healthcheck", value: check, late: true})
	}
	init := func(more map[string]any) []any {
		container := map[string]any{"name": "init", "image": "busybox"}
		maps.Copy(container, more)
		return []any{container}
	}
	for _, more := range []map[string]any{
		nil,
		{"timeoutSeconds": 86400},
		{"timeoutSeconds": 86401},
		{"timeoutSeconds": -1},
		{"name": "web"},
		{"name": "app"},
		{"image": ""},
		{"ports": []any{"80:80"}},
		{"restart": "no"},
		{"volumes": []any{"x"}},
	} {
		list = append(list, mutation{path: "spec.score.data.initContainers", value: init(more)})
	}
	list = append(list, mutation{path: "spec.score.data.initContainers", value: append(init(nil), init(nil)...)})
	list = append(list, mutation{path: service + "dir", value: "/srv"}, mutation{path: service + "dir", value: "srv"}, mutation{path: service + "dir", value: "{{ .device.id }}"})
	return list
}

// The API server and the fleet give the same verdict on a manifest: admission
// refuses nothing that the fleet accepts, and what the fleet refuses is refused
// at admission or, where a schema cannot say why, by the fleet itself.
func TestAdmissionAgreesWithTheDomain(t *testing.T) {
	t.Parallel()
	env := kubernetes.Get(t)
	c, namespace := env.Client(t), env.Namespace(t)
	bases := []string{
		`{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Deployment","metadata":{"name":"web"},"spec":{"targetSelector":{},` +
			`"score":{"type":"PodmanV0","data":{"services":[{"name":"web","image":"nginx:1"}]}}}}`,
		`{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Deployment","metadata":{"name":"app"},"spec":{"targetSelector":{},` +
			`"score":{"type":"ProcessV0","data":{"services":[{"name":"app","command":["/bin/true"]}]}}}}`,
	}
	for _, manifest := range manifests(t) {
		bases = append(bases, string(manifest))
	}
	verdicts := map[bool]int{}
	for _, base := range bases {
		check(t, c, namespace, []byte(base), false, verdicts)
		for _, m := range mutations() {
			var manifest map[string]any
			require.NoError(t, json.Unmarshal([]byte(base), &manifest))
			set(manifest, strings.Split(m.path, "."), m.value)
			data, err := json.Marshal(manifest)
			require.NoError(t, err)
			check(t, c, namespace, data, m.late, verdicts)
		}
	}
	require.Greater(t, verdicts[true], 100, "valid manifests")
	require.Greater(t, verdicts[false], 500, "invalid manifests")
}

// check compares both verdicts on one manifest.
func check(t *testing.T, c client.Client, namespace string, data []byte, late bool, verdicts map[bool]int) {
	t.Helper()
	manifest, wanted := contracts.DecodeStrict[contracts.Manifest](data)
	if wanted == nil {
		wanted = domain.CheckDeployment(domain.DeploymentFromManifest(manifest, contracts.OriginKubernetes))
	}
	verdicts[wanted == nil]++

	resource := &unstructured.Unstructured{}
	require.NoError(t, json.Unmarshal(data, &resource.Object))
	resource.SetNamespace(namespace)
	admitted := c.Create(t.Context(), resource, client.DryRunAll, client.FieldValidation("Strict"))
	if admitted != nil {
		require.True(t, apierrors.IsInvalid(admitted) || apierrors.IsBadRequest(admitted) || apierrors.IsForbidden(admitted), "%v", admitted)
		assert.Error(t, wanted, "refused at admission (%v), accepted by the fleet: %s", admitted, data)
		return
	}
	var typed v1alpha1.Deployment
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(resource.Object, &typed))
	taken, err := kube.DeploymentFromResource(&typed)
	if err == nil {
		err = domain.CheckDeployment(taken)
	}
	if wanted == nil {
		if assert.NoError(t, err, "accepted by the fleet as a file, refused as a resource: %s", data) {
			assert.Equal(t, meaning(t, manifest.Spec), meaning(t, taken.Spec), "%s", data)
		}
		return
	}
	assert.ErrorIs(t, err, domain.ErrInvalid, "accepted as a resource; as a file the fleet says %v: %s", wanted, data)
	if !late && !unbuilt(manifest) {
		t.Errorf("only found late: %v: %s", wanted, data)
	}
}

// unbuilt manifests are valid in themselves, but this version cannot do them.
func unbuilt(manifest contracts.Manifest) bool { return manifest.Metadata.Name != "" }

// set puts a value at a place, which need not exist.
func set(at any, path []string, value any) {
	object, isObject := at.(map[string]any)
	if list, ok := at.([]any); ok {
		index, _ := strconv.Atoi(path[0])
		set(list[index], path[1:], value)
		return
	}
	if !isObject {
		return
	}
	if len(path) == 1 {
		if _, gone := value.(remove); gone {
			delete(object, path[0])
		} else {
			object[path[0]] = value
		}
		return
	}
	if _, ok := object[path[0]]; !ok {
		object[path[0]] = map[string]any{}
	}
	set(object[path[0]], path[1:], value)
}
