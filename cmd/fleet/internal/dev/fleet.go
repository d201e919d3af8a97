package dev

import (
	"fmt"
	"slices"

	"github.com/nationtech/harmony-fleet/contracts"
)

// member is one device of a development fleet.
type member struct {
	id   contracts.DeviceID
	site string
}

// members spreads n devices over the sites in turn: paris-01, lyon-01, …
func members(n int, sites []string) ([]member, error) {
	if n > 0 && len(sites) == 0 {
		return nil, fmt.Errorf("name at least one site for %d devices", n)
	}
	for i, site := range sites {
		if slices.Contains(sites[:i], site) {
			return nil, fmt.Errorf("site %q is named twice: name each site once", site)
		}
	}
	all := make([]member, n)
	for i := range n {
		site := sites[i%len(sites)]
		id, err := contracts.ParseDeviceID(fmt.Sprintf("%s-%02d", site, i/len(sites)+1))
		if err != nil {
			return nil, fmt.Errorf("site %q: %w", site, err)
		}
		all[i] = member{id: id, site: site}
	}
	return all, nil
}
