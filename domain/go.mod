module github.com/nationtech/harmony-fleet/domain

go 1.26.0

require github.com/nationtech/harmony-fleet/contracts v0.0.0

require (
	github.com/stretchr/testify v1.12.1
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)

replace github.com/nationtech/harmony-fleet/contracts => ../contracts
