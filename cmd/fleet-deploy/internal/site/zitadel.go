package site

import "github.com/nationtech/harmony-fleet/deploy/zitadel"

// Zitadel is the identity provider in the cluster.
type Zitadel struct {
	Chart Chart `yaml:"chart"`
	// Domain and Port are how clients reach it, and Insecure that they do so
	// without TLS.
	Domain   string          `yaml:"domain"`
	Port     int             `yaml:"port"`
	Insecure bool            `yaml:"insecure"`
	Database ZitadelDatabase `yaml:"database"`
	// MasterKeyFile is optional: one is generated.
	MasterKeyFile string          `yaml:"masterKeyFile"`
	Replicas      int             `yaml:"replicas"`
	Ingress       *ZitadelIngress `yaml:"ingress"`
	ImageRegistry string          `yaml:"imageRegistry"`
}

// ZitadelDatabase is a PostgreSQL that is there, or the chart's.
type ZitadelDatabase struct {
	DSNFile string          `yaml:"dsnFile"`
	CAFile  string          `yaml:"caFile"`
	Bundled *ZitadelBundled `yaml:"bundled"`
}

// ZitadelBundled are the passwords of the chart's PostgreSQL.
type ZitadelBundled struct {
	PasswordFile      string `yaml:"passwordFile"`
	AdminPasswordFile string `yaml:"adminPasswordFile"`
}

// ZitadelIngress says how the cluster lets clients in.
type ZitadelIngress struct {
	Class       string            `yaml:"class"`
	TLSSecret   string            `yaml:"tlsSecret"`
	Annotations map[string]string `yaml:"annotations"`
}

func (o *clusterOpener) zitadel() (*zitadel.FleetZitadelScore, error) {
	z := o.site.Zitadel
	score := &zitadel.FleetZitadelScore{
		Domain: z.Domain, Port: z.Port, Insecure: z.Insecure, Replicas: z.Replicas,
		Namespace: o.site.Kubernetes.Namespace, ImageRegistry: z.ImageRegistry,
	}
	var err error
	if score.Chart, err = o.chart(z.Chart, "zitadel", zitadel.ChartVersion); err != nil {
		return nil, err
	}
	if score.MasterKey, err = o.secret("masterKeyFile", z.MasterKeyFile); err != nil {
		return nil, err
	}
	if i := z.Ingress; i != nil {
		score.Ingress = &zitadel.Ingress{Class: i.Class, TLSSecret: i.TLSSecret, Annotations: i.Annotations}
	}
	score.Database, err = o.database(z.Database)
	return score, err
}

func (o *clusterOpener) database(d ZitadelDatabase) (zitadel.Database, error) {
	var opened zitadel.Database
	var err error
	if opened.DSN, err = o.secret("database.dsnFile", d.DSNFile); err != nil {
		return opened, err
	}
	if opened.CA, err = o.read("database.caFile", d.CAFile); err != nil {
		return opened, err
	}
	if d.Bundled == nil {
		return opened, nil
	}
	opened.Bundled = &zitadel.Bundled{}
	if opened.Bundled.Password, err = o.secret("database.bundled.passwordFile", d.Bundled.PasswordFile); err != nil {
		return opened, err
	}
	opened.Bundled.AdminPassword, err = o.secret("database.bundled.adminPasswordFile", d.Bundled.AdminPasswordFile)
	return opened, err
}
