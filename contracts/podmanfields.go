package contracts

import (
	"math"
	"net/netip"
	"path"
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
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		address, err := netip.ParseAddr(strings.Trim(host[:i], "[]"))
		if err != nil {
			return Port{}, badPort(s)
		}
		port.HostIP, host = address.String(), host[i+1:]
	}
	var ok bool
	if port.HostPort, ok = parsePortNumber(host); !ok {
		return Port{}, badPort(s)
	}
	if port.ContainerPort, ok = parsePortNumber(container); !ok {
		return Port{}, badPort(s)
	}
	return port, nil
}

func parsePortNumber(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && n > 0
}

func badPort(s string) error {
	return invalid("", "%q is not a port: write hostPort:containerPort, such as \"8080:80\" or \"127.0.0.1:53:53/udp\"", s)
}

// checkHostPorts finds two services of one deployment on one port of the host.
func checkHostPorts(services []PodmanService) error {
	seen := map[Port]string{}
	for i, service := range services {
		for j, text := range service.Ports {
			port, err := ParsePort(text)
			if err != nil {
				continue // a template; a real mistake was found before
			}
			key := Port{HostIP: port.HostIP, HostPort: port.HostPort, Protocol: port.Protocol}
			if other, taken := seen[key]; taken {
				return inItem("services", i, inItem("ports", j, invalid("", "host port %d/%s is already used by service %s", port.HostPort, port.Protocol, other)))
			}
			seen[key] = service.Name
		}
	}
	return nil
}

// Volume is a parsed "source:/target[:ro]".
type Volume struct {
	// Source is an absolute path of the host, or a volume's name.
	Source   string
	Target   string
	ReadOnly bool
}

// Named reports whether the source is a named volume.
func (v Volume) Named() bool { return !strings.HasPrefix(v.Source, "/") }

// ParseVolume reads the text form of a volume.
func ParseVolume(s string) (Volume, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return Volume{}, badVolume(s)
	}
	volume := Volume{Source: parts[0], Target: parts[1]}
	if len(parts) == 3 {
		switch parts[2] {
		case "ro":
			volume.ReadOnly = true
		case "rw":
		default:
			return Volume{}, badVolume(s)
		}
	}
	sourceOK := isCleanAbsolute(volume.Source)
	if volume.Named() {
		sourceOK = isQualifiedName(volume.Source)
	}
	if !sourceOK || !isCleanAbsolute(volume.Target) || volume.Target == "/" {
		return Volume{}, badVolume(s)
	}
	return volume, nil
}

func badVolume(s string) error {
	return invalid("", "%q is not a volume: write source:/target or source:/target:ro, the source an absolute path or a volume's name", s)
}

func isCleanAbsolute(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && !strings.ContainsAny(p, "\x00,")
}

// checkImage checks an image reference roughly: the engine has the last word.
func checkImage(image string) error {
	if image == "" {
		return invalid("", "must not be empty")
	}
	if templated(image) {
		return nil
	}
	if len(image) > 512 {
		return invalid("", "must be at most 512 bytes")
	}
	name, digest, pinned := strings.Cut(image, "@")
	if pinned {
		algorithm, sum, _ := strings.Cut(digest, ":")
		if algorithm != "sha256" || len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" {
			return invalid("", "%q has no valid digest: write name@sha256: and 64 hexadecimal digits", image)
		}
	}
	if name == "" || !isAlphanumeric(name[0]) || strings.ContainsFunc(name, func(r rune) bool {
		return !(r < 128 && isAlphanumeric(byte(r))) && !strings.ContainsRune("._-/:", r)
	}) {
		return invalid("", "%q is not an image reference, such as registry.example/web:1.2", image)
	}
	return nil
}

// Validate checks that both quantities can be read.
func (r Resources) Validate() error {
	if _, err := r.MilliCPU(); err != nil && !templated(r.CPU) {
		return in("cpu", err)
	}
	if _, err := r.MemoryBytes(); err != nil && !templated(r.Memory) {
		return in("memory", err)
	}
	return nil
}

// MilliCPU returns thousandths of a core, 0 for unbounded.
func (r Resources) MilliCPU() (int64, error) {
	if r.CPU == "" {
		return 0, nil
	}
	scale, text := 1000.0, r.CPU
	if cut, ok := strings.CutSuffix(text, "m"); ok {
		scale, text = 1, cut
	}
	value, err := strconv.ParseFloat(text, 64)
	milli := math.Round(value * scale)
	if err != nil || !(milli >= 1 && milli <= 1e6) {
		return 0, invalid("", "%q is not an amount of CPU: write cores, such as \"0.5\", or thousandths, such as \"500m\"", r.CPU)
	}
	return int64(milli), nil
}

// MemoryBytes returns bytes, 0 for unbounded.
func (r Resources) MemoryBytes() (int64, error) {
	if r.Memory == "" {
		return 0, nil
	}
	digits := strings.TrimRight(r.Memory, "KMGi")
	scale := map[string]int64{"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}[r.Memory[len(digits):]]
	value, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || scale == 0 || value <= 0 || value > math.MaxInt64/scale {
		return 0, invalid("", "%q is not an amount of memory: write bytes, such as \"268435456\", or \"256Mi\"", r.Memory)
	}
	return value * scale, nil
}
