// Package contracts is the wire between the operator, the agents and the
// tools of a fleet: document shapes, names of subjects, streams and buckets,
// and the codec that validates whatever is read. It imports the standard
// library alone, so that anything may depend on it.
//
// Documents are JSON in camelCase. Unknown fields are ignored on decode, so
// that an older reader understands a newer writer; everything else is checked.
// The shapes are frozen by the golden files in testdata/v1.
package contracts
