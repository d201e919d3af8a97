// Package domain is what the fleet is about, without any provider: records,
// capability interfaces and error kinds. Adapters implement the interfaces;
// the engines in domain/operator and domain/agent know nothing else.
//
// The comment of each interface is its contract. Every obligation in it has a
// subtest in domain/conformance, which all adapters run, and domain/memory is
// an implementation of each interface in memory.
package domain
