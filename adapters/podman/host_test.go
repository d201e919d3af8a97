package podman_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nationtech/harmony-fleet/adapters/podman"
	"github.com/nationtech/harmony-fleet/adapters/podman/podmantest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long an engine may take for anything on a busy machine.
const patience = 60 * time.Second

// image is on every host under test, and comes from no registry.
const image = "fleet.test/app:1"

// host is one engine with our image, shared by the tests of that engine.
type host struct {
	*podmantest.Engine
	registry *podmantest.Registry
	app      []byte
}

func newHost(t *testing.T, product podmantest.Product, storeSize string) *host {
	t.Helper()
	h := &host{registry: podmantest.NewRegistry(t)}
	h.Engine = podmantest.Start(t, product, podmantest.Options{Registry: h.registry, StoreSize: storeSize})
	h.app = podmantest.BuildApp(t)
	h.Load(t, image, podmantest.NewImage(t, h.app, "1", 0))
	return h
}

// runtime returns a runtime whose workloads are gone at the end of the test.
func (h *host) runtime(t *testing.T, edit func(*podman.Options)) *podman.Runtime {
	t.Helper()
	options := podman.Options{
		Socket: h.Socket, StateDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if edit != nil {
		edit(&options)
	}
	r, err := podman.New(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		all, err := r.List(ctx)
		assert.NoError(t, err)
		for _, workload := range all {
			assert.NoError(t, r.Remove(ctx, workload.Name))
		}
		r.Close()
	})
	return r
}

// does is a service that runs the program of the image with these words.
func does(name string, words ...string) contracts.PodmanService {
	return contracts.PodmanService{PodmanContainer: contracts.PodmanContainer{Name: name, Image: image, Args: words}}
}

func initDoes(name string, words ...string) contracts.InitContainer {
	return contracts.InitContainer{PodmanContainer: does(name, words...).PodmanContainer}
}

// soon is a lifecycle that kills after a second.
func soon() contracts.Lifecycle { return contracts.Lifecycle{GracePeriodSeconds: new(uint32(1))} }

func workload(t *testing.T, name string, generation uint64, score contracts.PodmanV0) domain.Workload {
	t.Helper()
	if score.Lifecycle.GracePeriodSeconds == nil {
		score.Lifecycle.GracePeriodSeconds = soon().GracePeriodSeconds
	}
	data, err := json.Marshal(score)
	require.NoError(t, err)
	return domain.Workload{
		Name: contracts.DeploymentName(name), Generation: generation,
		Score: contracts.ReconcileScore{Type: contracts.ScorePodmanV0, Data: data},
	}
}

func services(list ...contracts.PodmanService) contracts.PodmanV0 {
	return contracts.PodmanV0{Services: list}
}

// progress keeps what it was told.
type progress struct {
	mu      sync.Mutex
	reasons []contracts.Reason
	texts   []string
}

func (p *progress) tell(reason contracts.Reason, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reasons, p.texts = append(p.reasons, reason), append(p.texts, text)
}

func quiet(contracts.Reason, string) {}

func apply(t *testing.T, r *podman.Runtime, w domain.Workload) {
	t.Helper()
	require.NoError(t, r.Apply(t.Context(), w, quiet))
}

// requireReason applies and returns the failure, which must have that reason.
func requireReason(t *testing.T, r *podman.Runtime, w domain.Workload, reason contracts.Reason) *domain.WorkloadError {
	t.Helper()
	err := r.Apply(t.Context(), w, quiet)
	var failure *domain.WorkloadError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, reason, failure.Reason, failure.Message)
	t.Log(failure)
	return failure
}

func status(t *testing.T, r *podman.Runtime, name string) domain.WorkloadStatus {
	t.Helper()
	all, err := r.List(t.Context())
	require.NoError(t, err)
	for _, status := range all {
		if status.Name == contracts.DeploymentName(name) {
			return status
		}
	}
	return domain.WorkloadStatus{}
}

// eventually waits for a status that passes.
func eventually(t *testing.T, r *podman.Runtime, name string, passes func(domain.WorkloadStatus) bool) domain.WorkloadStatus {
	t.Helper()
	var last domain.WorkloadStatus
	require.Eventually(t, func() bool {
		last = status(t, r, name)
		return passes(last)
	}, patience, 100*time.Millisecond, "last: %s", fmtStatus{&last})
	return last
}

type fmtStatus struct{ status *domain.WorkloadStatus }

func (f fmtStatus) String() string { return fmt.Sprintf("%+v", *f.status) }

func hasReason(reason contracts.Reason) func(domain.WorkloadStatus) bool {
	return func(s domain.WorkloadStatus) bool { return s.Reason == reason }
}

// logOf waits until the service's log holds all texts.
func logOf(t *testing.T, r *podman.Runtime, deployment, service string, texts ...string) string {
	t.Helper()
	var last string
	require.Eventually(t, func() bool {
		log, err := r.Logs(t.Context(), domain.LogQuery{Deployment: contracts.DeploymentName(deployment), Service: service, Tail: -1})
		if err != nil {
			last = err.Error()
			return false
		}
		defer log.Close()
		data, err := io.ReadAll(log)
		last = string(data)
		if err != nil {
			return false
		}
		for _, text := range texts {
			if !strings.Contains(last, text) {
				return false
			}
		}
		return true
	}, patience, 100*time.Millisecond, "log of %s/%s", deployment, service)
	return last
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}
