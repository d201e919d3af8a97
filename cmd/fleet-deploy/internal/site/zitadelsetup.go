package site

import (
	"errors"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/deploy/zitadel"
	"github.com/nationtech/harmony-fleet/deploy/zitadelsetup"
)

// ZitadelSetup is the fleet at Zitadel.
type ZitadelSetup struct {
	// Issuer is Zitadel's URL; that of zitadel by default. Without zitadel it is
	// reached by it, and else by a forward into the cluster.
	Issuer string `yaml:"issuer"`
	// AdminTokenFile has a personal access token of an owner of the organization;
	// by default it is that which Zitadel's chart keeps in AdminSecret.
	AdminTokenFile string `yaml:"adminTokenFile"`
	AdminSecret    string `yaml:"adminSecret"`
	// Organization is an ID; the default organization by default.
	Organization string `yaml:"organization"`
	// Project is "fleet", and DevicePrefix "fleet-", by default.
	Project      string `yaml:"project"`
	DevicePrefix string `yaml:"devicePrefix"`
}

// zitadelSetup takes the Score of zitadel, or nil where the site has none.
func (o *clusterOpener) zitadelSetup(provider *zitadel.FleetZitadelScore) (*zitadelsetup.FleetZitadelSetupScore, error) {
	z := o.site.ZitadelSetup
	score := &zitadelsetup.FleetZitadelSetupScore{
		Issuer: z.Issuer, Namespace: o.site.Kubernetes.Namespace, External: provider == nil, AdminSecret: z.AdminSecret,
		OrganizationID: z.Organization, Project: z.Project, DevicePrefix: verifier.DevicePrefix(z.DevicePrefix),
	}
	switch {
	case provider != nil && z.Issuer != "" && z.Issuer != provider.Issuer():
		return nil, errors.New("issuer: the site has a zitadel of its own: leave it out")
	case provider != nil:
		score.Issuer, score.Service = provider.Issuer(), provider.Service()
	case z.Issuer == "":
		return nil, errors.New("issuer: name the URL of Zitadel, or write zitadel to have one in the cluster")
	}
	var err error
	score.AdminToken, err = o.secret("adminTokenFile", z.AdminTokenFile)
	return score, err
}
