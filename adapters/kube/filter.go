package kube

import (
	"fmt"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/nationtech/harmony-fleet/contracts"
)

// DeviceFilter chooses the devices that are shown. The zero value chooses all.
type DeviceFilter struct {
	selector labels.Selector
}

// ParseDeviceFilter reads "all", "none", or a selector as kubectl writes it,
// such as "site=paris,ring in (1,2)".
func ParseDeviceFilter(text string) (DeviceFilter, error) {
	switch text {
	case "", "all":
		return DeviceFilter{}, nil
	case "none":
		return DeviceFilter{selector: labels.Nothing()}, nil
	}
	selector, err := labels.Parse(text)
	if err != nil {
		return DeviceFilter{}, fmt.Errorf(`%q is neither "all" nor "none" nor a selector such as "site=paris,ring in (1,2)": %w`, text, err)
	}
	return DeviceFilter{selector: selector}, nil
}

func (f DeviceFilter) matches(of contracts.Labels) bool {
	return f.selector == nil || f.selector.Matches(labels.Set(of))
}
