// Package verifier checks access tokens of Zitadel without asking it for each.
// It links no gRPC.
package verifier
