package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/nationtech/harmony-fleet/adapters/kube"
	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/health"
	"github.com/nationtech/harmony-fleet/domain/operator"
)

// kubernetesOptions are the flags that join the fleet with a namespace.
type kubernetesOptions struct {
	// access is "in-cluster" or a kubeconfig file; empty for no Kubernetes.
	access         string
	namespace      string
	qps            float64
	reflectDevices string
	metricsAddress string
}

func (o *kubernetesOptions) register(flags *pflag.FlagSet) {
	flags.StringVar(&o.access, "kubernetes", "", "show the fleet in Kubernetes and take deployments in from there; =FILE for a kubeconfig file, nothing for the pod's own account")
	flags.Lookup("kubernetes").NoOptDefVal = kube.InCluster
	flags.StringVar(&o.namespace, "namespace", "", "namespace of the fleet's resources (default: that of the pod or of the kubeconfig's context)")
	flags.Float64Var(&o.qps, "kube-qps", 50, "most writes of devices per second to the API server")
	flags.StringVar(&o.reflectDevices, "reflect-devices", "all", `devices to show: all, none, or a selector such as "site=paris"`)
	flags.StringVar(&o.metricsAddress, "metrics-address", "", "address of Prometheus metrics of the Kubernetes part; empty for none")
}

func (o *kubernetesOptions) check() error {
	if _, err := kube.ParseDeviceFilter(o.reflectDevices); err != nil {
		return fmt.Errorf("--reflect-devices: %w", err)
	}
	if !(o.qps > 0 && o.qps <= 10000) { // which NaN is not
		return fmt.Errorf("--kube-qps: %g is out of range, must be above 0 and at most 10000", o.qps)
	}
	return nil
}

// newBridge returns what joins the fleet with Kubernetes, nil when that is not
// asked for. It does not need an API server that answers.
func newBridge(conn *nats.Conn, o options, log *slog.Logger) (*kube.Bridge, error) {
	k := o.kubernetes
	if k.access == "" {
		return nil, nil //nolint:nilnil // there is none, which is no mistake
	}
	devices, err := kube.ParseDeviceFilter(k.reflectDevices)
	if err != nil {
		return nil, fmt.Errorf("--reflect-devices: %w", err)
	}
	config, namespace, err := kube.Access(k.access, k.namespace)
	if err != nil {
		return nil, fmt.Errorf("--kubernetes: %w", err)
	}
	kube.UseLogger(log)
	return kube.New(config, kube.Capabilities{
		Devices:     nats.NewDeviceRegistry(conn),
		Deployments: nats.NewDeploymentStore(conn),
		Statuses:    nats.NewDeploymentStatusStore(conn),
		Observed:    nats.NewObservedStateConsumer(conn),
		Events:      nats.NewEventLog(conn),
		Link:        conn,
	}, kube.Options{
		Namespace:         namespace,
		QPS:               k.qps,
		Devices:           devices,
		HeartbeatInterval: o.heartbeatInterval,
		LeaseDuration:     o.leaseTTL,
		MetricsAddress:    k.metricsAddress,
		Logger:            log.With(slog.String("part", "kubernetes")),
	})
}

// status is what /status shows.
type status struct {
	operator.Status
	Kubernetes *kube.Status `json:",omitempty"`
}

// statusOf returns the function behind /status.
func statusOf(engine *operator.Operator, bridge *kube.Bridge) health.Status {
	return func() any {
		shown := status{Status: engine.Status()}
		if bridge != nil {
			s := bridge.Status()
			shown.Kubernetes = &s
		}
		return shown
	}
}
