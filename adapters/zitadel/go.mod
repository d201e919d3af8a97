module github.com/nationtech/harmony-fleet/adapters/zitadel

go 1.26.0

require (
	github.com/go-jose/go-jose/v4 v4.1.6
	github.com/nationtech/harmony-fleet/contracts v0.0.0
	github.com/nationtech/harmony-fleet/domain v0.0.0
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

replace (
	github.com/nationtech/harmony-fleet/contracts => ../../contracts
	github.com/nationtech/harmony-fleet/domain => ../../domain
)
