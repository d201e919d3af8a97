module github.com/nationtech/harmony-fleet/domain

go 1.26.0

require github.com/nationtech/harmony-fleet/contracts v0.0.0

replace github.com/nationtech/harmony-fleet/contracts => ../contracts
