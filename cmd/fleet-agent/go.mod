module github.com/nationtech/harmony-fleet/cmd/fleet-agent

go 1.26.0

require (
	github.com/nationtech/harmony-fleet/adapters/nats v0.0.0
	github.com/nationtech/harmony-fleet/adapters/podman v0.0.0
	github.com/nationtech/harmony-fleet/adapters/process v0.0.0
	github.com/nationtech/harmony-fleet/adapters/zitadel v0.0.0
	github.com/nationtech/harmony-fleet/contracts v0.0.0
	github.com/nationtech/harmony-fleet/domain v0.0.0
	github.com/pelletier/go-toml/v2 v2.4.3
	github.com/prometheus/common v0.67.5
	github.com/spf13/cobra v1.10.2
	github.com/stretchr/testify v1.12.1
	golang.org/x/sync v0.24.0
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/kr/pretty v0.3.1 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/nats-io/jwt/v2 v2.8.2 // indirect
	github.com/nats-io/nats.go v1.55.0 // indirect
	github.com/nats-io/nkeys v0.4.17 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/prometheus/client_model v0.6.2 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	github.com/synadia-io/orbit.go/jetstreamext v0.3.2 // indirect
	github.com/synadia-io/orbit.go/natsext v0.1.3 // indirect
	go.yaml.in/yaml/v2 v2.4.3 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)

replace (
	github.com/nationtech/harmony-fleet/adapters/nats => ../../adapters/nats
	github.com/nationtech/harmony-fleet/adapters/podman => ../../adapters/podman
	github.com/nationtech/harmony-fleet/adapters/process => ../../adapters/process
	github.com/nationtech/harmony-fleet/adapters/zitadel => ../../adapters/zitadel
	github.com/nationtech/harmony-fleet/contracts => ../../contracts
	github.com/nationtech/harmony-fleet/domain => ../../domain
)
