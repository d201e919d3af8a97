// Package progress shows the events of runs: as a live tree on a terminal, as
// plain lines or as JSON elsewhere.
package progress
