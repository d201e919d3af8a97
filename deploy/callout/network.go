package callout

import (
	"net/url"
	"slices"
	"strconv"
)

// Ports that are open besides those of the URLs. A policy sees the port of the
// pod in the end: the broker's own, and those that ingress controllers use.
const (
	brokerPort   = 4222
	ingressPort  = 8080
	ingressPorts = 8443
)

func (s *FleetCalloutScore) networkPolicy() map[string]any {
	issuer, _ := url.Parse(s.Identity.Issuer)
	behind := ingressPorts
	if issuer != nil && issuer.Scheme == "http" {
		behind = ingressPort
	}
	return map[string]any{
		"brokerPorts":   ports(s.Servers, brokerPort),
		"identityPorts": ports([]string{s.Identity.Issuer}, behind),
	}
}

// ports are those of URLs and another.
func ports(urls []string, another int) []any {
	found := []int{another}
	for _, text := range urls {
		parsed, err := url.Parse(text)
		if err != nil {
			continue
		}
		port, err := strconv.Atoi(parsed.Port())
		if err != nil {
			port = usualPort(parsed.Scheme)
		}
		found = append(found, port)
	}
	slices.Sort(found)
	var all []any
	for _, port := range slices.Compact(found) {
		all = append(all, port)
	}
	return all
}

func usualPort(scheme string) int {
	switch scheme {
	case "http", "ws":
		return 80
	case "https", "wss":
		return 443
	default:
		return brokerPort
	}
}
