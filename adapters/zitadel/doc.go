// Package zitadel gives devices and the operator an identity at Zitadel. Tokens are
// checked by the package verifier, and devices use the package device: neither
// links gRPC, as this package does.
package zitadel
