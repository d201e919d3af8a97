package zitadel

type values = map[string]any

// values are those of the upstream chart. They hold no secret but the passwords
// of the chart's PostgreSQL, which it takes in no other way.
func (s *FleetZitadelScore) values() values {
	runtime := values{
		"configmapConfig": values{
			"ExternalDomain": s.Domain,
			"ExternalPort":   s.port(),
			"ExternalSecure": !s.Insecure,
			// TLS ends at the ingress.
			"TLS": values{"Enabled": false},
		},
		"masterkeySecretName": s.masterKeySecret(),
		"configSecretName":    s.adminSecret(),
		"configSecretKey":     adminConfig,
	}
	if len(s.Database.CA) > 0 {
		runtime["dbSslCaCrtSecret"] = s.databaseCASecret()
	}
	v := values{
		"replicaCount": s.replicas(),
		"zitadel":      runtime,
		"resources": values{
			"requests": values{"cpu": "500m", "memory": "512Mi"},
			"limits":   values{"memory": "1Gi"},
		},
	}
	if s.replicas() > 1 {
		v["pdb"] = values{"enabled": true, "minAvailable": 1}
	}
	if bundled := s.Database.Bundled; bundled != nil {
		v["postgresql"] = values{
			"enabled": true,
			"auth":    values{"password": string(bundled.Password), "postgresPassword": string(bundled.AdminPassword)},
			"primary": values{"persistence": values{"enabled": true}},
		}
	} else {
		v["env"] = []any{values{
			"name":      "ZITADEL_DATABASE_POSTGRES_DSN",
			"valueFrom": values{"secretKeyRef": values{"name": s.databaseSecret(), "key": "dsn"}},
		}}
	}
	if s.Ingress != nil {
		v["ingress"] = s.ingress()
		// The pages to log in are served by a program of their own.
		v["login"] = values{"ingress": s.ingress()}
	}
	if s.ImageRegistry != "" {
		v["imageRegistry"] = s.ImageRegistry
	}
	return v
}

// ingress leaves hosts and paths to the chart, which knows the domain.
func (s *FleetZitadelScore) ingress() values {
	v := values{"enabled": true}
	if s.Ingress.Class != "" {
		v["className"] = s.Ingress.Class
	}
	if s.Ingress.Class == "nginx" {
		v["controller"] = "nginx" // for what it needs to pass gRPC on
	}
	if s.Ingress.TLSSecret != "" {
		v["tls"] = []any{values{"hosts": []any{s.Domain}, "secretName": s.Ingress.TLSSecret}}
	}
	if len(s.Ingress.Annotations) > 0 {
		annotations := values{}
		for key, value := range s.Ingress.Annotations {
			annotations[key] = value
		}
		v["annotations"] = annotations
	}
	return v
}
