package charts_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// calloutValues are the least that the chart of the callout needs, with changes.
func calloutValues(changes map[string]any) map[string]any {
	return changed(map[string]any{
		"image":  "registry.example/fleet-operator@sha256:00",
		"broker": map[string]any{"servers": []any{"tls://a:4222", "tls://b:4222"}, "secret": "broker"},
		"keys":   map[string]any{"secret": "keys"},
		"identity": map[string]any{
			"issuer": "https://sso.example", "organization": "1", "project": "2", "devicePrefix": "fleet-", "secret": "identity",
		},
		"signingKeys": []any{"ed25519:a", "ed25519:b"},
	}, changes)
}

// allCalloutOptions turn on everything that is off by default.
func allCalloutOptions() map[string]any {
	return calloutValues(map[string]any{
		"serviceMonitor.enabled": true, "broker.caKey": "ca.pem", "broker.caSecret": "authority", "broker.account": "PARIS",
		"identity.caKey": "ca.pem", "identity.caSecret": "sso", "approve.labels": []any{"site=paris,ring=1"},
		"approve.configMap": "lists", "approve.serialsKey": "serials", "approve.machineIDsKey": "machines",
		"devices.servers": []any{"tls://broker.example:4222"},
	})
}

func TestCalloutLint(t *testing.T) {
	lintChart(t, "fleet-callout", nil, calloutValues(nil), allCalloutOptions())
}

func TestCalloutIsConfined(t *testing.T) {
	documents, err := renderChart(t, "fleet-callout", allCalloutOptions())
	require.NoError(t, err)
	requireConfined(t, documents)
	require.False(t, *decode[corev1.ServiceAccount](t, documents, "ServiceAccount").AutomountServiceAccountToken)
	deployment := decode[appsv1.Deployment](t, documents, "Deployment")
	require.False(t, *deployment.Spec.Template.Spec.AutomountServiceAccountToken, "it asks nothing of Kubernetes")
	require.Equal(t, int32(2), *deployment.Spec.Replicas)
	require.Empty(t, documents["Role"])
	require.Len(t, decode[networkingv1.NetworkPolicy](t, documents, "NetworkPolicy").Spec.Egress, 2)
}

func TestCalloutOptions(t *testing.T) {
	documents, err := renderChart(t, "fleet-callout", allCalloutOptions())
	require.NoError(t, err)
	require.Len(t, documents["ServiceMonitor"], 1)
	container := decode[appsv1.Deployment](t, documents, "Deployment").Spec.Template.Spec.Containers[0]
	for _, argument := range []string{
		"--account=PARIS", "--ca-file=/run/secrets/fleet/authority/ca.pem", "--device-ca-file=/run/secrets/fleet/authority/ca.pem",
		"--signing-key=ed25519:a,ed25519:b", "--device-server=tls://broker.example:4222", "--approve-labels=site=paris,ring=1",
		"--approve-serials=/etc/fleet/approve/serials", "--approve-machine-ids=/etc/fleet/approve/machines",
		"--exchange-seed-file=/run/secrets/fleet/keys/exchange.nk",
	} {
		require.Contains(t, container.Args, argument)
	}
	require.Contains(t, container.Env, corev1.EnvVar{Name: "SSL_CERT_FILE", Value: "/run/secrets/fleet/identity-authority/ca.pem"})

	documents, err = renderChart(t, "fleet-callout", calloutValues(map[string]any{
		"networkPolicy.enabled": false, "podDisruptionBudget.enabled": false, "keys.unencrypted": true,
	}))
	require.NoError(t, err)
	require.Empty(t, documents["NetworkPolicy"])
	require.Empty(t, documents["PodDisruptionBudget"])
	arguments := strings.Join(decode[appsv1.Deployment](t, documents, "Deployment").Spec.Template.Spec.Containers[0].Args, " ")
	require.NotContains(t, arguments, "exchange")
	require.NotContains(t, arguments, "approve")
	require.NotContains(t, arguments, "ca-file")

	for says, changes := range map[string]map[string]any{
		"name the image of fleet-operator":    {"image": ""},
		"name at least one URL of the broker": {"broker.servers": []any{}},
		"name the Secret with the operator's": {"broker.secret": ""},
		"name the Secret with the callout's":  {"keys.secret": ""},
		"name the URL of Zitadel":             {"identity.issuer": ""},
		"ID of the fleet's organization":      {"identity.organization": ""},
		"ID of the fleet's project":           {"identity.project": ""},
		"what the user IDs of devices":        {"identity.devicePrefix": ""},
		"key of the service user":             {"identity.secret": ""},
		"fleet-operator pubkey":               {"signingKeys": []any{}},
		"signingKeys":                         {"signingKeys": []any{"rsa:a"}},
		"replica":                             {"replica": 3},
	} {
		_, err := renderChart(t, "fleet-callout", calloutValues(changes))
		require.ErrorContains(t, err, says)
	}
}

func TestServerTakesTheCallout(t *testing.T) {
	_, err := server.Get(t).Kubectl(t.Context(), []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: fleet-a}\n"), "apply", "-f", "-")
	require.NoError(t, err)
	documents, err := renderChart(t, "fleet-callout", allCalloutOptions())
	require.NoError(t, err)
	require.Equal(t, 6, len(documents))
	delete(documents, "ServiceMonitor") // the server does not have it
	requireTaken(t, documents)
}
