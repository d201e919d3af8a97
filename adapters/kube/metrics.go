package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// phaseMetric is 1 for the phase that a bridge is in, and 0 for the others.
const phaseMetric = "fleet_operator_kubernetes_phase"

// serveMetrics answers /metrics until ctx is cancelled: what client-go and
// controller-runtime count, and the bridge's phase. It outlives the bridge's
// managers, because it matters most while there is none.
func (b *Bridge) serveMetrics(ctx context.Context, listener net.Listener) error {
	own := prometheus.NewRegistry()
	for _, phase := range []Phase{PhaseConnecting, PhaseStandby, PhaseRecovering, PhaseFollowing} {
		own.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        phaseMetric,
			Help:        "1 for the phase that the bridge to Kubernetes is in.",
			ConstLabels: prometheus.Labels{"phase": string(phase)},
		}, func() float64 {
			if b.Status().Phase == phase {
				return 1
			}
			return 0
		}))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherers{metrics.Registry, own}, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics of the Kubernetes part: %w", err)
	}
	return nil
}
