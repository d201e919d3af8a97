// Package memory implements every capability of package domain in memory: one
// Fleet is the backend that operators and devices share, and Runtime, Identity
// and Lifecycle stand for what surrounds them. It passes the same suites as the
// real adapters and is the fake that tests use.
//
// Nothing runs in the background: all work is done in the goroutines of the
// callers, and time is taken from time.Now and timers, so that everything works
// in a bubble of testing/synctest when it was made there. What callers pass in
// and get back is copied.
package memory
