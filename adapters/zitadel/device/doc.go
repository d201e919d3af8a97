// Package device is the device's side of Zitadel: it proves with the device's
// private key who the device is, and keeps the token that it gets for it. It
// links no gRPC.
package device
