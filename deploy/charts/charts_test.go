// Package charts_test checks the charts, which are used by Helm alone.
package charts_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/adapters/kube/kubetest"
)

// server is an API server of all tests, without the fleet's definitions.
var server = kubetest.NewShared(kubetest.Options{WithoutCRDs: true})

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m, server)) }

// values are the least that the chart needs.
func values() map[string]any {
	return map[string]any{
		"image":      "registry.example/fleet-operator@sha256:00",
		"broker":     map[string]any{"servers": []any{"tls://a:4222", "tls://b:4222"}, "secret": "broker"},
		"signingKey": map[string]any{"secret": "signing"},
	}
}

// with returns the operator's values with some of them set, by dotted path.
func with(changes map[string]any) map[string]any { return changed(values(), changes) }

func changed(all, changes map[string]any) map[string]any {
	for path, value := range changes {
		keys := strings.Split(path, ".")
		at := all
		for _, key := range keys[:len(keys)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[key] = next
			}
			at = next
		}
		at[keys[len(keys)-1]] = value
	}
	return all
}

// render returns the documents of the operator's chart by kind.
func render(t *testing.T, given map[string]any) (map[string][]string, error) {
	t.Helper()
	return renderChart(t, "fleet-operator", given)
}

func renderChart(t *testing.T, name string, given map[string]any) (map[string][]string, error) {
	t.Helper()
	loaded, err := loader.LoadDir(name)
	require.NoError(t, err)
	all, err := chartutil.ToRenderValues(loaded, given, chartutil.ReleaseOptions{Name: "op", Namespace: "fleet-a", IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.Render(loaded, all)
	if err != nil {
		return nil, err
	}
	documents := map[string][]string{}
	for name, text := range rendered {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		for document := range strings.SplitSeq("\n"+text, "\n---\n") {
			var object struct{ Kind string }
			require.NoError(t, yaml.Unmarshal([]byte(document), &object), "%s:\n%s", name, document)
			if object.Kind != "" {
				documents[object.Kind] = append(documents[object.Kind], document)
			}
		}
	}
	return documents, nil
}

// decode decodes the only document of a kind strictly.
func decode[T any](t *testing.T, documents map[string][]string, kind string) T {
	t.Helper()
	require.Len(t, documents[kind], 1, kind)
	var object T
	require.NoError(t, yaml.UnmarshalStrict([]byte(documents[kind][0]), &object))
	return object
}

func TestLint(t *testing.T) {
	lintChart(t, "fleet-operator", nil, values(), with(map[string]any{"serviceMonitor.enabled": true, "broker.user": "operator", "broker.caKey": "ca.pem"}))
}

func lintChart(t *testing.T, name string, all ...map[string]any) {
	t.Helper()
	for _, given := range all {
		lint := action.NewLint()
		lint.Strict = true
		result := lint.Run([]string{name}, given)
		require.Empty(t, result.Errors)
		for _, message := range result.Messages {
			require.Less(t, message.Severity, support.WarningSev, message.Error())
		}
	}
}

func TestRightsAreTheAdapters(t *testing.T) {
	documents, err := render(t, values())
	require.NoError(t, err)
	require.Equal(t, kube.Rules(), decode[rbacv1.Role](t, documents, "Role").Rules)
	binding := decode[rbacv1.RoleBinding](t, documents, "RoleBinding")
	require.Equal(t, "fleet-a", binding.Subjects[0].Namespace)
	require.Equal(t, decode[corev1.ServiceAccount](t, documents, "ServiceAccount").Name, binding.Subjects[0].Name)
}

func TestDefinitionsAreTheAdapters(t *testing.T) {
	originals, err := filepath.Glob("../../adapters/kube/crds/*.yaml")
	require.NoError(t, err)
	copies, err := filepath.Glob("fleet-operator/definitions/*.yaml")
	require.NoError(t, err)
	require.Len(t, copies, len(originals))
	for _, path := range originals {
		original, err := os.ReadFile(path)
		require.NoError(t, err)
		have, err := os.ReadFile(filepath.Join("fleet-operator/definitions", filepath.Base(path)))
		require.NoError(t, err)
		require.Equal(t, string(original), string(have), "copy %s into fleet-operator/definitions", path)
	}
	documents, err := render(t, values())
	require.NoError(t, err)
	definitions := documents["CustomResourceDefinition"]
	require.Len(t, definitions, len(originals))
	for _, definition := range definitions {
		require.Contains(t, definition, "helm.sh/resource-policy: keep")
	}
	documents, err = render(t, with(map[string]any{"definitions.enabled": false}))
	require.NoError(t, err)
	require.Empty(t, documents["CustomResourceDefinition"])
}

func TestPodIsConfined(t *testing.T) {
	documents, err := render(t, values())
	require.NoError(t, err)
	requireConfined(t, documents)
}

func requireConfined(t *testing.T, documents map[string][]string) {
	t.Helper()
	deployment := decode[appsv1.Deployment](t, documents, "Deployment")
	pod := deployment.Spec.Template.Spec
	require.True(t, *pod.SecurityContext.RunAsNonRoot)
	container := pod.Containers[0]
	require.True(t, *container.SecurityContext.ReadOnlyRootFilesystem)
	require.False(t, *container.SecurityContext.AllowPrivilegeEscalation)
	require.Equal(t, []corev1.Capability{"ALL"}, container.SecurityContext.Capabilities.Drop)
	require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type)
	require.False(t, container.Resources.Limits.Memory().IsZero())
	for name, list := range documents {
		for _, document := range list {
			if name != "CustomResourceDefinition" {
				require.Contains(t, document, "namespace: fleet-a", name)
			}
		}
	}
	for label, value := range deployment.Spec.Selector.MatchLabels {
		require.Equal(t, value, deployment.Spec.Template.Labels[label])
	}
}

func TestOptions(t *testing.T) {
	documents, err := render(t, with(map[string]any{
		"serviceMonitor.enabled": true, "networkPolicy.enabled": false, "podDisruptionBudget.enabled": false,
		"broker.user": "operator", "broker.caKey": "ca.pem",
	}))
	require.NoError(t, err)
	require.Len(t, documents["ServiceMonitor"], 1)
	require.Empty(t, documents["NetworkPolicy"])
	require.Empty(t, documents["PodDisruptionBudget"])
	arguments := decode[appsv1.Deployment](t, documents, "Deployment").Spec.Template.Spec.Containers[0].Args
	require.Contains(t, arguments, "--user=operator")
	require.Contains(t, arguments, "--password-file=/run/secrets/fleet/broker/password")
	require.Contains(t, arguments, "--ca-file=/run/secrets/fleet/authority/ca.pem")
	require.NotContains(t, strings.Join(arguments, " "), "nkey")

	for says, changes := range map[string]map[string]any{
		"name the operator's image":                {"image": ""},
		"name at least one URL of the broker":      {"broker.servers": []any{}},
		"name the Secret with the operator's":      {"broker.secret": ""},
		"name the Secret with the fleet's signing": {"signingKey.secret": ""},
		"replica":        {"replica": 3},
		"streamReplicas": {"streamReplicas": 2},
	} {
		_, err := render(t, with(changes))
		require.ErrorContains(t, err, says)
	}
}

// TestServerTakesAll proves that a real API server takes each document as it
// is, without unknown or missing fields.
func TestServerTakesAll(t *testing.T) {
	environment := server.Get(t)
	_, err := environment.Kubectl(t.Context(), []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: fleet-a}\n"), "apply", "-f", "-")
	require.NoError(t, err)
	documents, err := render(t, with(map[string]any{"networkPolicy.metricsFrom": []any{map[string]any{"podSelector": map[string]any{}}}}))
	require.NoError(t, err)
	require.Equal(t, 8, len(documents), "every kind but ServiceMonitor, which the server does not have")
	requireTaken(t, documents)
}

func requireTaken(t *testing.T, documents map[string][]string) {
	t.Helper()
	for kind, list := range documents {
		for _, document := range list {
			out, err := server.Get(t).Kubectl(t.Context(), []byte(document), "apply", "--dry-run=server", "--validate=strict", "-f", "-")
			require.NoError(t, err, "%s:\n%s", kind, document)
			require.Contains(t, out, "created (server dry run)")
		}
	}
}
