// Package hosttest runs a real SSH server on loopback in a test.
package hosttest
