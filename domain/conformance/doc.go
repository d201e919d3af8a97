// Package conformance holds one suite per capability of package domain. An
// adapter's test calls the suite with a function that opens a fresh backend:
//
//	func TestDeviceRegistry(t *testing.T) {
//		conformance.DeviceRegistry(t, func(t *testing.T) conformance.DeviceRegistryFixture { … })
//	}
//
// Each subtest is one obligation of the interface's comment. Subtests run in
// parallel, each with a fixture of its own; the fixture's clean-up belongs to
// the t that open is given. A part of a fixture that is nil is something that
// the backend cannot do or show: what needs it is left out, and the log of the
// test names it. To know what is left out, one fixture more is opened first.
package conformance
