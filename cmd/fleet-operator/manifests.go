package main

import (
	"github.com/spf13/cobra"

	"github.com/nationtech/harmony-fleet/adapters/kube"
)

func newManifestsCommand() *cobra.Command {
	var namespace, account string
	command := &cobra.Command{
		Use:   "manifests",
		Short: "Print what Kubernetes needs before an operator can run with it",
		Long: `manifests prints, for kubectl apply, the definitions of Device and Deployment
an operator's service account, and the least rights that it needs. The
Helm chart brings the same.`,
		Example: `  fleet-operator manifests --namespace fleet | kubectl apply -f -`,
		Args:    exactly(0),
		RunE: func(command *cobra.Command, _ []string) error {
			return kube.WriteManifests(command.OutOrStdout(), namespace, account)
		},
	}
	command.Flags().StringVar(&namespace, "namespace", "fleet", "namespace of the fleet's resources")
	command.Flags().StringVar(&account, "service-account", kube.LeaseName, "service account in that namespace that the operator runs as")
	return command
}
