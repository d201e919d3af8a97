package contracts

import (
	"net/netip"
	"strconv"
	"strings"
)

// Port is a parsed "[hostIP:]hostPort:containerPort[/tcp|udp]".
type Port struct {
	// HostIP is empty for every address of the host.
	HostIP        string
	HostPort      uint16
	ContainerPort uint16
	// Protocol is "tcp" or "udp".
	Protocol string
}

// ParsePort reads the text form of a port.
func ParsePort(s string) (Port, error) {
	mapping, protocol, found := strings.Cut(s, "/")
	if !found {
		protocol = "tcp"
	}
	if protocol != "tcp" && protocol != "udp" {
		return Port{}, badPort(s)
	}
	port := Port{Protocol: protocol}
	last := strings.LastIndexByte(mapping, ':')
	if last < 0 {
		return Port{}, badPort(s)
	}
	host, container := mapping[:last], mapping[last+1:]
	var ok bool
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		if port.HostIP, ok = parseHostIP(host[:i]); !ok {
			return Port{}, badPort(s)
		}
		host = host[i+1:]
	}
	if port.HostPort, ok = parsePortNumber(host); !ok {
		return Port{}, badPort(s)
	}
	if port.ContainerPort, ok = parsePortNumber(container); !ok {
		return Port{}, badPort(s)
	}
	return port, nil
}

// parseHostIP reads an IPv4 address, or an IPv6 address in brackets.
func parseHostIP(s string) (string, bool) {
	inner, bracketed := strings.CutPrefix(s, "[")
	if bracketed {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, "]"); !closed {
			return "", false
		}
	}
	address, err := netip.ParseAddr(inner)
	if err != nil || address.Zone() != "" || address.Is4() == bracketed {
		return "", false
	}
	return address.String(), true
}

func parsePortNumber(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && n > 0
}

func badPort(s string) error {
	return invalid("", "%q is not a port: write hostPort:containerPort, such as \"8080:80\" or \"127.0.0.1:53:53/udp\"", s)
}

// hostSlot is one port of one address of the host.
type hostSlot struct {
	v6 bool
	// address is "" for every address of its family, "*" for any.
	address  string
	port     uint16
	protocol string
}

// slots returns what p takes: without a host address, one of each family.
func (p Port) slots() []hostSlot {
	switch p.HostIP {
	case "":
		return []hostSlot{{false, "", p.HostPort, p.Protocol}, {true, "", p.HostPort, p.Protocol}}
	case "0.0.0.0", "::":
		return []hostSlot{{p.HostIP == "::", "", p.HostPort, p.Protocol}}
	default:
		return []hostSlot{{strings.Contains(p.HostIP, ":"), p.HostIP, p.HostPort, p.Protocol}}
	}
}

// conflicts returns the slots of which none may be taken already: a port on
// every address takes that port of each address.
func (h hostSlot) conflicts() []hostSlot {
	if h.address == "" {
		return []hostSlot{h.on("*")}
	}
	return []hostSlot{h, h.on("")}
}

func (h hostSlot) on(address string) hostSlot {
	h.address = address
	return h
}

// checkHostPorts finds two ports of one deployment on one port of the host.
func checkHostPorts(services []PodmanService) error {
	taken := map[hostSlot]string{}
	for i, service := range services {
		for j, text := range service.Ports {
			port, err := ParsePort(text)
			if err != nil {
				continue // a template; a real mistake was found before
			}
			if other := takeSlots(taken, port, service.Name); other != "" {
				return inItem("services", i, inItem("ports", j, invalid("", "host port %d/%s is already used by service %s", port.HostPort, port.Protocol, other)))
			}
		}
	}
	return nil
}

// takeSlots returns the service that has a slot of port, or takes all of them.
func takeSlots(taken map[hostSlot]string, port Port, service string) string {
	for _, slot := range port.slots() {
		for _, conflict := range slot.conflicts() {
			if other := taken[conflict]; other != "" {
				return other
			}
		}
		taken[slot], taken[slot.on("*")] = service, service
	}
	return ""
}
