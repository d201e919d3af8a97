module github.com/nationtech/harmony-fleet/deploy

go 1.26.0

require (
	github.com/nationtech/harmony-fleet/contracts v0.0.0
	github.com/nationtech/harmony-fleet/domain v0.0.0
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
	golang.org/x/crypto v0.58.0
)

require (
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sync v0.24.0
	golang.org/x/sys v0.49.0 // indirect
)

replace (
	github.com/nationtech/harmony-fleet/contracts => ../contracts
	github.com/nationtech/harmony-fleet/domain => ../domain
)
