// Package enrollment brings devices into a fleet: it invites them with one-time
// tokens, decides about those that come, and gives them their identity.
package enrollment
