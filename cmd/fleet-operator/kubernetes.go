package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"
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
	// flags tells which of these were given, wherever.
	flags *pflag.FlagSet
}

// kubernetesFlags say how, and mean nothing without --kubernetes.
func kubernetesFlags() []string {
	return []string{"namespace", "kube-qps", "reflect-devices", "metrics-address"}
}

func (o *kubernetesOptions) register(flags *pflag.FlagSet) {
	o.flags = flags
	flags.StringVar(&o.access, "kubernetes", "", "show the fleet in Kubernetes and take deployments in from there; =FILE for a kubeconfig file, nothing for the pod's own account")
	flags.Lookup("kubernetes").NoOptDefVal = kube.InCluster
	flags.StringVar(&o.namespace, "namespace", "", "namespace of the fleet's resources (default: that of the pod or of the kubeconfig's context)")
	flags.Float64Var(&o.qps, "kube-qps", 50, "most writes of devices per second to the API server")
	flags.StringVar(&o.reflectDevices, "reflect-devices", "all", `devices to show: all, none, or a selector such as "site=paris"`)
	flags.StringVar(&o.metricsAddress, "metrics-address", "", "address of Prometheus metrics of the Kubernetes part; empty for none")
}

// arguments refuses all arguments. The one that is likely a kubeconfig file is
// told how to be one: a flag with an optional value takes it after '=' alone.
func (o *kubernetesOptions) arguments(command *cobra.Command, args []string) error {
	if len(args) == 1 && o.flags.Changed("kubernetes") && o.access == kube.InCluster {
		return &usageError{cause: fmt.Errorf("--kubernetes takes its kubeconfig file after '=': write --kubernetes=%s; see `%s --help`", args[0], command.CommandPath())}
	}
	return exactly(0)(command, args)
}

func (o *kubernetesOptions) check() error {
	if o.access == "" {
		for _, name := range kubernetesFlags() {
			if o.flags.Changed(name) {
				return &usageError{cause: fmt.Errorf("--%s does nothing without --kubernetes: add --kubernetes, or --kubernetes=FILE with a kubeconfig file, or remove --%s", name, name)}
			}
		}
		return nil
	}
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

// kubernetesWord is a second line of /readyz, which tells what the Kubernetes part
// does and what is wrong with it. It does not make an operator unready: the fleet
// goes on without it, and no other pod would do better.
func kubernetesWord(bridge *kube.Bridge) string {
	if bridge == nil {
		return ""
	}
	s := bridge.Status()
	if s.Problem == "" {
		return fmt.Sprintf("\nKubernetes: %s", s.Phase)
	}
	return fmt.Sprintf("\nKubernetes: %s: %s", s.Phase, s.Problem)
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
