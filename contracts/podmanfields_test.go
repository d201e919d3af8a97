package contracts_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

func TestParsePort(t *testing.T) {
	good := map[string]Port{
		"8080:80":             {HostPort: 8080, ContainerPort: 80, Protocol: "tcp"},
		"1:65535/tcp":         {HostPort: 1, ContainerPort: 65535, Protocol: "tcp"},
		"127.0.0.1:53:53/udp": {HostIP: "127.0.0.1", HostPort: 53, ContainerPort: 53, Protocol: "udp"},
		"[::1]:53:54":         {HostIP: "::1", HostPort: 53, ContainerPort: 54, Protocol: "tcp"},
		"[0:0::1]:53:54":      {HostIP: "::1", HostPort: 53, ContainerPort: 54, Protocol: "tcp"},
	}
	for text, want := range good {
		got, err := ParsePort(text)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	for _, text := range []string{
		"", "80", ":", ":80", "80:", "0:80", "80:0", "65536:80", "80:65536", "-1:80", "+80:80", "80:80/", "80:80/sctp", "80:80/TCP",
		"a:80", "80:a", "host:80:80", "1.2.3:80:80", "::1:80:80", "[127.0.0.1]:80:80", "[::1:80:80", "::1]:80:80", "[]:80:80",
		"[fe80::1%eth0]:80:80", ":80:80", "80-81:80-81", " 80:80", "80:80:80:80",
	} {
		_, err := ParsePort(text)
		assertFieldError(t, err, "", `is not a port: write hostPort:containerPort, such as "8080:80"`)
	}
}

func TestParseVolume(t *testing.T) {
	good := map[string]Volume{
		"data:/data":        {Source: "data", Target: "/data"},
		"/srv/x:/x:ro":      {Source: "/srv/x", Target: "/x", ReadOnly: true},
		"a.b_c-1:/x/y:rw":   {Source: "a.b_c-1", Target: "/x/y"},
		"/:/host:ro":        {Source: "/", Target: "/host", ReadOnly: true},
		"/with space:/data": {Source: "/with space", Target: "/data"},
	}
	for text, want := range good {
		got, err := ParseVolume(text)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, text[0] != '/', got.Named())
	}
	for _, text := range []string{
		"", ":", "data", "data:", ":/data", "data:data", "data:/", "data:/data:z", "data:/data:ro:x", "./data:/data", "../x:/x", "~/x:/x",
		"a/b:/x", "/a/../b:/x", "/a/:/x", "//a:/x", "/a:/x/", "/a:/x/../y", "/a,b:/x", "/a:/x,readonly", "-a:/x", "/a\x00:/x",
	} {
		_, err := ParseVolume(text)
		assertFieldError(t, err, "", "is not a volume: write source:/target or source:/target:ro")
	}
}

func TestImageReferences(t *testing.T) {
	with := func(image string) error {
		return PodmanV0{Services: []PodmanService{{PodmanContainer: PodmanContainer{Name: "a", Image: image}}}}.Validate()
	}
	for _, good := range []string{
		"web", "web:1", "library/web:1.2-rc_1", "registry.example:5000/a/b:1", "web@" + testDigest, "web:1@" + testDigest,
		"localhost/x", "{{ .device.labels.image }}", "a:{{ .device.labels.v }}",
	} {
		require.NoError(t, with(good), good)
	}
	wrong := map[string]string{
		"":                                   "must not be empty",
		"web:1 ":                             "is not an image reference, such as registry.example/web:1.2",
		"-web":                               "is not an image reference",
		"/web":                               "is not an image reference",
		"https://registry.example/web?x=1":   "is not an image reference",
		"wéb":                                "is not an image reference",
		"web@":                               "has no valid digest: write name@sha256: and 64 hexadecimal digits",
		"web@sha256:abc":                     "has no valid digest",
		"web@md5:" + testDigest[7:]:          "has no valid digest",
		"web@" + strings.ToUpper(testDigest): "has no valid digest",
		"web@" + testDigest[:70] + "g":       "has no valid digest",
		"@" + testDigest:                     "is not an image reference",
		strings.Repeat("a", 513):             "must be at most 512 bytes",
	}
	for image, reason := range wrong {
		assertFieldError(t, with(image), "services[0].image", reason)
	}
}

func TestResources(t *testing.T) {
	cpus := map[string]int64{"": 0, "1": 1000, "0.5": 500, "500m": 500, "1m": 1, "0.001": 1, "1000": 1_000_000, ".5": 500, "2.": 2000}
	for text, want := range cpus {
		got, err := Resources{CPU: text}.MilliCPU()
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"0", "-1", "+1", "0.0001", "m", "1mm", "1e3", "0x1", "inf", "NaN", "1,5", "1 ", "1000.1", ".", "1001", "1_0"} {
		_, err := Resources{CPU: text}.MilliCPU()
		assertFieldError(t, err, "", `is not an amount of CPU: write cores, such as "0.5", or thousandths, such as "500m"`)
	}
	memories := map[string]int64{
		"": 0, "1": 1, "1K": 1000, "1M": 1e6, "1G": 1e9, "1Ki": 1024, "256Mi": 256 << 20, "1Gi": 1 << 30,
		"9223372036854775807": math.MaxInt64, "8589934591Gi": 8589934591 << 30,
	}
	for text, want := range memories {
		got, err := Resources{Memory: text}.MemoryBytes()
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"0", "-1", "+1", "1.5G", "1k", "1KB", "1KiB", "1T", "K", "1KK", "1iM", "1 M", "9223372036854775808", "8589934592Gi", "9223372036854775807K", "0x10", "1e3"} {
		_, err := Resources{Memory: text}.MemoryBytes()
		assertFieldError(t, err, "", `is not an amount of memory: write bytes, such as "268435456", or "256Mi"`)
	}
}
