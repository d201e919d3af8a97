module github.com/nationtech/harmony-fleet/cmd/fleet

go 1.26.0

require (
	github.com/nationtech/harmony-fleet/contracts v0.0.0
	github.com/nationtech/harmony-fleet/domain v0.0.0
	github.com/spf13/cobra v1.10.2
	github.com/spf13/pflag v1.0.10
	github.com/stretchr/testify v1.12.1
	go.yaml.in/yaml/v3 v3.0.6
	golang.org/x/sync v0.24.0
)

replace (
	github.com/nationtech/harmony-fleet/adapters/nats => ../../adapters/nats
	github.com/nationtech/harmony-fleet/contracts => ../../contracts
	github.com/nationtech/harmony-fleet/domain => ../../domain
)
