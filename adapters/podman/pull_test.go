package podman_test

import (
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman"
	"github.com/nationtech/harmony-fleet/adapters/podman/podmantest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func (h *host) newImage(t *testing.T, marker string) podmantest.Image {
	t.Helper()
	return podmantest.NewImage(t, h.app, marker, 0)
}

func from(name, image string) contracts.PodmanService {
	service := does(name, "stop", "_")
	service.Image = image
	return service
}

func testPull(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	built := h.newImage(t, "pull")
	ref := h.registry.Push("team/pull", "1", built)
	told := &progress{}
	w := workload(t, "pull", 1, services(from("web", ref)))
	require.NoError(t, r.Apply(t.Context(), w, told.tell))
	assert.Contains(t, told.reasons, contracts.ReasonImagePulling)
	assert.Contains(t, strings.Join(told.texts, "\n"), ref)
	report := status(t, r, "pull").Services[0]
	assert.Equal(t, ref, report.Image)
	assert.Equal(t, built.Digest(), report.ImageDigest)

	// Pinned, with and without a tag: the same image, not pulled again.
	pulls := h.registry.Pulls()
	pinned := strings.TrimSuffix(ref, ":1") + "@" + built.Digest()
	apply(t, r, workload(t, "pinned", 1, services(from("a", pinned), from("b", ref+"@"+built.Digest()))))
	for _, report := range status(t, r, "pinned").Services {
		assert.Equal(t, built.Digest(), report.ImageDigest)
		assert.Equal(t, contracts.ServiceRunning, report.State)
	}
	apply(t, r, w)
	require.NoError(t, r.Remove(t.Context(), "pinned"))
	if h.Product == podmantest.Docker {
		assert.Equal(t, pulls, h.registry.Pulls())
	}
	never := from("web", image)
	never.PullPolicy = contracts.PullNever
	apply(t, r, workload(t, "never", 1, services(never)))
	if h.Product == podmantest.Docker { // Podman makes one up
		assert.Empty(t, status(t, r, "never").Services[0].ImageDigest, "an image from no registry has no digest")
	}

	// A digest that is not there yet is pulled by it.
	other := h.newImage(t, "by digest")
	h.registry.Push("team/bydigest", "1", other)
	apply(t, r, workload(t, "pull", 2, services(from("web", h.registry.Host()+"/team/bydigest@"+other.Digest()))))
	assert.Equal(t, other.Digest(), status(t, r, "pull").Services[0].ImageDigest)
}

func testPullFailures(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	ref := h.registry.Host() + "/team/later:1"
	apply(t, r, workload(t, "app", 1, services(does("web", "stop", "_"))))
	before := status(t, r, "app")
	w := workload(t, "app", 2, services(from("web", ref)))
	failure := requireReason(t, r, w, contracts.ReasonImagePullFailed)
	assert.Contains(t, failure.Message, ref)
	after := status(t, r, "app")
	assert.Equal(t, before.Services, after.Services, "the old service goes on")
	assert.Equal(t, contracts.ReasonImagePullFailed, after.Reason)
	h.registry.Push("team/later", "1", h.newImage(t, "later"))
	apply(t, r, w)
	assert.Empty(t, status(t, r, "app").Reason, "fixed by the next Apply")

	never := from("web", h.registry.Host()+"/team/never:1")
	never.PullPolicy = contracts.PullNever
	requireReason(t, r, workload(t, "never", 1, services(never)), contracts.ReasonImagePullFailed)
	requireReason(t, r, workload(t, "refused", 1, services(from("web", "127.0.0.1:1/team/web:1"))), contracts.ReasonImagePullFailed)

	hasty := h.runtime(t, func(o *podman.Options) { o.PullTimeout = time.Second; o.Owner = "hasty" })
	h.registry.Slow(time.Minute)
	defer h.registry.Slow(0)
	slow := h.registry.Push("team/slow", "1", h.newImage(t, "slow"))
	failure = requireReason(t, hasty, workload(t, "slow", 1, services(from("web", slow))), contracts.ReasonImagePullFailed)
	assert.Contains(t, failure.Message, "1s")
}

func testPullCredentials(t *testing.T, h *host) {
	t.Helper()
	h.registry.Protect("robot", "s3cret-password")
	defer h.registry.Protect("", "")
	ref := h.registry.Push("private/app", "1", h.newImage(t, "private"))
	file := filepath.Join(t.TempDir(), "auth.json")
	r := h.runtime(t, func(o *podman.Options) { o.AuthFile = file })
	w := workload(t, "private", 1, services(from("web", ref)))
	requireReason(t, r, w, contracts.ReasonImagePullFailed)
	login := func(password string) {
		auth := base64.StdEncoding.EncodeToString([]byte("robot:" + password))
		writeFile(t, file, `{"auths":{"`+h.registry.Host()+`":{"auth":"`+auth+`"}}}`)
	}
	login("wrong-password")
	failure := requireReason(t, r, w, contracts.ReasonImagePullFailed)
	assert.NotContains(t, failure.Message, "wrong-password")
	login("s3cret-password")
	apply(t, r, w)
	writeFile(t, file, `{"auths":{"`+h.registry.Host()+`":{"auth":"!!s3cret"}}}`)
	failure = requireReason(t, r, workload(t, "private", 2, services(from("web", h.registry.Host()+"/private/app:2"))), contracts.ReasonImagePullFailed)
	assert.NotContains(t, failure.Message, "s3cret")
	require.ErrorIs(t, failure, domain.ErrInvalid)
}

func testPullAlways(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	first, second := h.newImage(t, "first"), h.newImage(t, "second")
	ref := h.registry.Push("team/always", "latest", first)
	service := from("web", ref)
	service.PullPolicy = contracts.PullAlways
	score := services(service, does("db", "stop", "_"))
	apply(t, r, workload(t, "always", 1, score))
	before := status(t, r, "always")

	h.registry.Push("team/always", "latest", second)
	pulls := h.registry.Pulls()
	apply(t, r, workload(t, "always", 1, score))
	assert.Equal(t, pulls, h.registry.Pulls(), "the same generation needs no network")
	assert.Equal(t, before, status(t, r, "always"))

	apply(t, r, workload(t, "always", 2, score))
	after := status(t, r, "always")
	assert.Equal(t, second.Digest(), after.Services[1].ImageDigest)
	assert.NotEqual(t, before.Services[1].PID, after.Services[1].PID)
	assert.Equal(t, before.Services[0], after.Services[0])

	apply(t, r, workload(t, "always", 3, score))
	assert.Equal(t, after.Services, status(t, r, "always").Services, "the image is the same")
}

func testPrune(t *testing.T, h *host) {
	t.Helper()
	r := h.runtime(t, nil)
	refs := make([]string, 5)
	for i := range refs {
		refs[i] = h.registry.Push("team/prune", string(rune('a'+i)), h.newImage(t, "prune "+string(rune('a'+i))))
	}
	present := func() (list []int) {
		for i, ref := range refs {
			if strings.Contains(h.CLI(t.Context(), "images", "--format", "{{.Repository}}:{{.Tag}}"), ref) {
				list = append(list, i)
			}
		}
		return list
	}
	// One was there before, another one gets a name by somebody else.
	h.CLI(t.Context(), "pull", "-q", refs[0])
	for i, ref := range refs[:4] {
		apply(t, r, workload(t, "prune", uint64(i+1), services(from("web", ref))))
		if i == 1 {
			h.CLI(t.Context(), "tag", refs[1], "keep.test/mine:1")
		}
	}
	assert.Equal(t, []int{0, 2, 3}, present(), "not ours, previous and current")
	assert.Contains(t, h.CLI(t.Context(), "images"), "keep.test/mine")
	h.CLI(t.Context(), "run", "-d", "--name", "user-of-c", refs[2])
	apply(t, r, workload(t, "prune", 5, services(from("web", refs[4]))))
	assert.Equal(t, []int{0, 2, 3, 4}, present(), "a foreign container uses one")
	require.NoError(t, r.Remove(t.Context(), "prune"))
	assert.Equal(t, []int{0, 2}, present())
	h.CLI(t.Context(), "rm", "-f", "user-of-c")
	h.CLI(t.Context(), "rmi", refs[0], refs[2], "keep.test/mine:1")
}

// TestDiskFull pulls into a store that is too small.
func TestDiskFull(t *testing.T) {
	for _, product := range []podmantest.Product{podmantest.Podman, podmantest.Docker} {
		t.Run(string(product), func(t *testing.T) {
			h := newHost(t, product, "48m")
			r := h.runtime(t, nil)
			apply(t, r, workload(t, "small", 1, services(does("web", "stop", "_"))))
			before := status(t, r, "small")
			big := h.registry.Push("team/big", "1", podmantest.NewImage(t, h.app, "big", 64<<20))
			failure := requireReason(t, r, workload(t, "small", 2, services(from("web", big))), contracts.ReasonDiskFull)
			assert.Contains(t, failure.Message, "free disk space")
			assert.Equal(t, before.Services, status(t, r, "small").Services)
		})
	}
}
