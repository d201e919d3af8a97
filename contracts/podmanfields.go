package contracts

import (
	"math"
	"path"
	"strconv"
	"strings"
)

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
	return invalid("", "%q is not a volume: write source:/target or source:/target:ro, the source an absolute path or a volume's name; no path has \",\", \"..\" or a '/' at its end", s)
}

func isCleanAbsolute(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && !strings.ContainsAny(p, "\x00,:")
}

// maxImage bounds an image reference, in bytes.
const maxImage = 512

// checkImage checks an image reference roughly: the engine has the last word.
func checkImage(image string) error {
	if image == "" {
		return invalid("", "must not be empty")
	}
	if templated(image) {
		return nil
	}
	if len(image) > maxImage {
		return invalid("", "must be at most %d bytes", maxImage)
	}
	name, digest, pinned := strings.Cut(image, "@")
	if pinned {
		algorithm, sum, _ := strings.Cut(digest, ":")
		if algorithm != "sha256" || !isLowerHex(sum, 64) {
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
	if err != nil || strings.Trim(text, "0123456789.") != "" || !(milli >= 1 && milli <= 1e6) {
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
	scale := map[string]uint64{"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}[r.Memory[len(digits):]]
	value, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || scale == 0 || value == 0 || value > math.MaxInt64/scale {
		return 0, invalid("", "%q is not an amount of memory: write bytes, such as \"268435456\", or \"256Mi\"", r.Memory)
	}
	return int64(value * scale), nil
}
