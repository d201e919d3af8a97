package enrollment

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Policy decides about devices whose intent leaves it open. The inventory is
// what the device says about itself: it proves nothing by itself, but whoever
// sends it holds the device's token.
type Policy interface {
	// Decide reports whether the device is approved, and says why or why not, for
	// people.
	Decide(intent domain.EnrollmentIntent, inventory contracts.Inventory) (approved bool, why string)
}

// List is a set of serial numbers or machine IDs, each for any device or for
// one.
type List map[string]contracts.DeviceID

// maxListLine bounds one line of a list.
const maxListLine = 4096

// ReadList reads one value in a line, followed by a device ID when it is for
// that device alone. Empty lines and those that begin with '#' are left out.
func ReadList(r io.Reader) (List, error) {
	list := List{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxListLine)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) > 2 {
			return nil, domain.Errorf(domain.ErrInvalid, "line %d: write a value, and the device's ID behind it when it is for one device", n)
		}
		device := contracts.DeviceID("")
		if len(fields) == 2 {
			var err error
			if device, err = contracts.ParseDeviceID(fields[1]); err != nil {
				return nil, domain.WrapError(domain.ErrInvalid, err, "line %d", n)
			}
		}
		if other, twice := list[fields[0]]; twice && other != device {
			return nil, domain.Errorf(domain.ErrInvalid, "line %d: %q is listed twice, for different devices", n, contracts.Clip(fields[0], maxWhy))
		}
		list[fields[0]] = device
	}
	return list, domain.WrapError(domain.ErrInvalid, lines.Err(), "read the list")
}

// maxWhy bounds what a reason repeats of a device's own words.
const maxWhy = 128

// allows reports whether the value is listed for the device.
func (l List) allows(value string, device contracts.DeviceID) bool {
	only, listed := l[value]
	return value != "" && listed && (only == "" || only == device)
}

// Rules is a Policy. A device is approved when one of its parts says so.
type Rules struct {
	Serials    List
	MachineIDs List
	// Labels approve devices by the labels that people gave the intent.
	Labels []contracts.LabelSelector
}

var _ Policy = Rules{}

// Decide implements Policy.
func (r Rules) Decide(intent domain.EnrollmentIntent, inventory contracts.Inventory) (bool, string) {
	if r.Serials.allows(inventory.Serial, intent.Device) {
		return true, fmt.Sprintf("serial number %q is on the list", inventory.Serial)
	}
	if r.MachineIDs.allows(inventory.MachineID, intent.Device) {
		return true, fmt.Sprintf("machine ID %q is on the list", inventory.MachineID)
	}
	for _, selector := range r.Labels {
		if selector.Matches(contracts.EffectiveLabels(intent.Device, intent.Labels, nil)) {
			return true, "its labels are approved by a rule"
		}
	}
	var missing []string
	if r.Serials != nil {
		missing = append(missing, fmt.Sprintf("serial number %q", contracts.Clip(inventory.Serial, maxWhy)))
	}
	if r.MachineIDs != nil {
		missing = append(missing, fmt.Sprintf("machine ID %q", contracts.Clip(inventory.MachineID, maxWhy)))
	}
	if len(missing) == 0 {
		return false, "a person has to approve it"
	}
	return false, strings.Join(missing, " and ") + " not listed for this device: a person has to approve it"
}
