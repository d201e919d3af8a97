// Package agent is the engine that runs on each device. It takes the signed
// desired state of its device, keeps it on disk, makes the host's workload
// runtimes agree with it, and reports what it sees. It knows capabilities only
// and runs in a testing/synctest bubble as well as on a device.
//
// The engine is level-triggered: a worker for each deployment compares what is
// wanted with what is there whenever either may have changed, and a periodic
// look at every runtime catches what nobody told.
package agent
