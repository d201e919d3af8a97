module github.com/nationtech/harmony-fleet/contracts

go 1.26.0
