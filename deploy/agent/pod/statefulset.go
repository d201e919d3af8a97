package pod

import (
	"crypto/sha256"
	"encoding/hex"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	configFile = "config.toml"
	// user is nobody's in particular, and owns the volume.
	user = int64(65532)
)

// statefulSet runs the device once at most: two agents of one device would
// contradict each other.
func (s *FleetAgentPodScore) statefulSet(config []byte) *unstructured.Unstructured {
	sum := sha256.Sum256(config)
	labels := map[string]any{
		"app.kubernetes.io/name":     "fleet-agent",
		"app.kubernetes.io/instance": s.object(),
	}
	claim := map[string]any{
		"accessModes": []any{"ReadWriteOnce"},
		"resources":   map[string]any{"requests": map[string]any{"storage": s.storage()}},
	}
	if s.StorageClass != "" {
		claim["storageClassName"] = s.StorageClass
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "StatefulSet",
		"metadata": map[string]any{"namespace": s.namespace(), "name": s.object(), "labels": labels},
		"spec": map[string]any{
			"replicas":    int64(1),
			"serviceName": s.object(),
			"selector":    map[string]any{"matchLabels": labels},
			// The device's state goes with it.
			"persistentVolumeClaimRetentionPolicy": map[string]any{"whenDeleted": "Delete", "whenScaled": "Retain"},
			"volumeClaimTemplates": []any{map[string]any{
				"apiVersion": "v1", "kind": "PersistentVolumeClaim",
				"metadata": map[string]any{"name": "state"}, "spec": claim,
			}},
			"template": map[string]any{
				// The agent reads its configuration when it starts. The sum leaves
				// out the credential, which it reads whenever it connects.
				"metadata": map[string]any{"labels": labels, "annotations": map[string]any{"fleet.nationtech.io/config": hex.EncodeToString(sum[:])}},
				"spec":     s.podSpec(),
			},
		},
	}}
}

func (s *FleetAgentPodScore) podSpec() map[string]any {
	return map[string]any{
		"automountServiceAccountToken": false,
		"enableServiceLinks":           false,
		// Somebody must reap what workloads leave behind, and the agent does not.
		"shareProcessNamespace":         true,
		"terminationGracePeriodSeconds": int64(30),
		"securityContext": map[string]any{
			"runAsNonRoot": true, "runAsUser": user, "runAsGroup": user, "fsGroup": user,
			"seccompProfile": map[string]any{"type": "RuntimeDefault"},
		},
		"containers": []any{map[string]any{
			"name":    "fleet-agent",
			"image":   s.Image,
			"command": []any{"fleet-agent", "--config", "/etc/fleet-agent/" + configFile},
			"readinessProbe": map[string]any{
				"exec":          map[string]any{"command": []any{"fleet-agent", "status", "--config", "/etc/fleet-agent/" + configFile}},
				"periodSeconds": int64(10), "timeoutSeconds": int64(5),
			},
			"resources": map[string]any{"requests": map[string]any{"cpu": "10m", "memory": "32Mi"}},
			"securityContext": map[string]any{
				"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
				"capabilities": map[string]any{"drop": []any{"ALL"}},
			},
			"volumeMounts": []any{
				map[string]any{"name": "config", "mountPath": "/etc/fleet-agent", "readOnly": true},
				map[string]any{"name": "state", "mountPath": "/var/lib/fleet-agent"},
				map[string]any{"name": "tmp", "mountPath": "/tmp"},
			},
		}},
		"volumes": []any{
			map[string]any{"name": "config", "secret": map[string]any{"secretName": s.object(), "defaultMode": int64(0o440)}},
			map[string]any{"name": "tmp", "emptyDir": map[string]any{}},
		},
	}
}
