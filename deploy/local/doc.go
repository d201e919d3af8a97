// Package local brings up a fleet on this machine, as long as this process
// lives: what runs are services inside it and programs that are its children.
package local
