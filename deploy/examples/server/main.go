// Command server brings up the whole server side of a fleet in the cluster of the
// current kubeconfig, with keys that are made there. It expects the Secrets
// broker-tls and sso-tls, with the certificates, in the namespace "fleet". Change
// it to what your site needs.
//
//	server IMAGE BROKER-HOST ZITADEL-DOMAIN DSN-FILE
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/callout"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/deploy/operator"
	"github.com/nationtech/harmony-fleet/deploy/progress"
	"github.com/nationtech/harmony-fleet/deploy/server"
	"github.com/nationtech/harmony-fleet/deploy/zitadel"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := bringUp(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func bringUp(ctx context.Context, args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("four arguments are needed, see the comment in main.go")
	}
	dsn, err := os.ReadFile(args[3])
	if err != nil {
		return err
	}
	score := &server.FleetServerScore{
		Devices: 1000,
		Image:   args[0],
		Nats: &nats.FleetNatsScore{
			TLS:     &nats.TLS{Host: args[1], SecretName: "broker-tls"},
			Service: nats.Service{Type: corev1.ServiceTypeLoadBalancer},
		},
		Zitadel: &zitadel.FleetZitadelScore{
			Domain: args[2], Database: zitadel.Database{DSN: dsn},
			Ingress: &zitadel.Ingress{Class: "nginx", TLSSecret: "sso-tls"},
		},
		Operator: &operator.FleetOperatorScore{},
		Callout:  &callout.FleetCalloutScore{},
	}
	cluster, err := kube.New(kube.Config{})
	if err != nil {
		return err
	}
	outcome, err := deploy.For(score).Apply(ctx, cluster, deploy.Options{Companions: []deploy.Companion{progress.Lines(os.Stderr)}})
	fmt.Println(outcome.Summary())
	return err
}
