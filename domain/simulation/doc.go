// Package simulation runs whole fleets, operator and agents, in virtual time
// under testing/synctest, and breaks them on purpose: crashes, lost, doubled
// and late messages, partitions, changes of mind. What happens in a run follows
// from its seed.
package simulation
