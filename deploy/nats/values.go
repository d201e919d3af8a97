package nats

import (
	"fmt"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/deploy/kube"
)

const (
	storeDir = "/data"
	// authFile is in a Secret that is mounted below /etc, as the chart's
	// reloader of configurations wants it.
	authFile   = "auth.conf"
	authDir    = "/etc/nats-fleet"
	authVolume = "fleet-auth"
)

type values = map[string]any

// values are those of the upstream chart. They hold no secret.
func (s *FleetNatsScore) values(auth string) (values, error) {
	size := s.size()
	stamp, err := s.stamp(auth)
	if err != nil {
		return nil, err
	}
	v := values{
		"config": s.config(size),
		"container": values{
			"env":       values{"GOMEMLIMIT": fmt.Sprintf("%dMiB", size.MemoryMiB*9/10)},
			"resources": size.resources(),
			"patch": []any{values{
				"op": "add", "path": "/volumeMounts/-",
				"value": values{"name": authVolume, "mountPath": authDir},
			}},
		},
		"podTemplate": values{
			// A change of who may connect starts the servers anew, one after another.
			"merge": values{"metadata": values{"annotations": values{"harmony-fleet/admission": stamp}}},
			"patch": []any{values{
				"op": "add", "path": "/spec/volumes/-",
				"value": values{"name": authVolume, "secret": values{"secretName": s.authSecret()}},
			}},
		},
		// It would be a client without a credential.
		"natsBox": values{"enabled": false},
	}
	if s.replicas() > 1 {
		v["podTemplate"].(values)["topologySpreadConstraints"] = values{
			"kubernetes.io/hostname": values{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"},
		}
	}
	if s.PodMonitor {
		v["promExporter"] = values{"enabled": true, "podMonitor": values{"enabled": true}}
	}
	if s.ImageRegistry != "" {
		v["global"] = values{"image": values{"registry": s.ImageRegistry}}
	}
	if service := s.service(); len(service) > 0 {
		v["service"] = values{"merge": service}
	}
	return v, nil
}

// stamp changes with who may connect.
func (s *FleetNatsScore) stamp(auth string) (string, error) {
	return kube.Stamp(s.namespace()+"/"+s.release(), []byte(auth))
}

func (s *FleetNatsScore) config(size Size) values {
	jetstream := values{
		"enabled": true,
		"fileStore": values{
			"enabled": true, "dir": storeDir,
			"pvc": values{"enabled": true, "size": fmt.Sprintf("%dGi", size.StorageGiB)},
		},
		"memoryStore": values{"enabled": true, "maxSize": fmt.Sprintf("%dMi", size.MemoryStoreMiB)},
	}
	if s.StorageClass != "" {
		jetstream["fileStore"].(values)["pvc"].(values)["storageClassName"] = s.StorageClass
	}
	if !s.Unsynced {
		jetstream["merge"] = values{"sync_interval": "always"}
	}
	limits := nats.DefaultLimits()
	config := values{
		"jetstream": jetstream,
		"monitor":   values{"enabled": true},
		"merge": values{
			// Relative to /etc/nats-config/nats.conf.
			"$include":          "../nats-fleet/" + authFile,
			"max_connections":   size.MaxConnections,
			"max_subscriptions": limits.MaxSubscriptions,
			"max_payload":       limits.MaxPayload,
			"max_pending":       limits.MaxPending,
			"max_control_line":  limits.MaxControlLine,
		},
	}
	if s.replicas() > 1 {
		config["cluster"] = values{"enabled": true, "replicas": s.replicas()}
	}
	if s.TLS != nil {
		config["nats"] = values{"tls": s.tls(values{"timeout": 60, "connection_rate_limit": size.HandshakesPerSecond})}
	}
	if s.LeafNodes {
		config["leafnodes"] = values{"enabled": true, "tls": s.tls(nil)}
	}
	if s.Websocket != nil {
		config["websocket"] = s.websocket()
	}
	return config
}

func (s *FleetNatsScore) tls(merge values) values {
	v := values{"enabled": true, "secretName": s.tlsSecret()}
	if merge != nil {
		v["merge"] = merge
	}
	return v
}

func (s *FleetNatsScore) websocket() values {
	v := values{"enabled": true}
	if s.TLS != nil && len(s.Websocket.Hosts) == 0 {
		v["tls"] = s.tls(nil) // otherwise the Ingress ends it
	}
	if len(s.Websocket.Hosts) > 0 {
		hosts := make([]any, len(s.Websocket.Hosts))
		for i, host := range s.Websocket.Hosts {
			hosts[i] = host
		}
		ingress := values{"enabled": true, "hosts": hosts}
		if s.Websocket.IngressClass != "" {
			ingress["className"] = s.Websocket.IngressClass
		}
		if s.Websocket.IngressTLS != "" {
			ingress["tlsSecretName"] = s.Websocket.IngressTLS
		}
		v["ingress"] = ingress
	}
	return v
}

func (s *FleetNatsScore) service() values {
	v := values{}
	if s.Service.Type != "" {
		v["spec"] = values{"type": string(s.Service.Type)}
	}
	if len(s.Service.Annotations) > 0 {
		annotations := values{}
		for key, value := range s.Service.Annotations {
			annotations[key] = value
		}
		v["metadata"] = values{"annotations": annotations}
	}
	return v
}
