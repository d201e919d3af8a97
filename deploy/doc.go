// Package deploy brings up the parts of a fleet, each as a Score that interprets
// itself against a topology: a host over SSH, this machine, a cluster.
//
// A Score lists the resources that it wants to be there. Each of them looks for
// itself what is the case, so a plan is a reading of the real thing, a second
// application changes nothing, and one that was interrupted anywhere goes on
// where it stopped: no state is kept besides what was deployed. It is done only
// when the Score's smoke test has passed.
//
//	outcome, err := deploy.For(score).Apply(ctx, topology, deploy.Options{})
//
// A topology that lacks a capability that the Score needs does not compile.
package deploy
