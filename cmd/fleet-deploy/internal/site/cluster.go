package site

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/bundle"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/deploy/operator"
	"github.com/nationtech/harmony-fleet/deploy/zitadel"
	"github.com/nationtech/harmony-fleet/deploy/zitadelsetup"
)

// Kubernetes is a cluster, by default the one that kubectl would use.
type Kubernetes struct {
	Kubeconfig string `yaml:"kubeconfig"`
	Context    string `yaml:"context"`
	// Namespace is "fleet" by default.
	Namespace string `yaml:"namespace"`
}

// Chart is where a chart comes from: one of Repository, OCI, Archive and Directory.
type Chart struct {
	// Repository is the URL of one, and Name the chart's if it is not the usual.
	Repository string `yaml:"repository"`
	Name       string `yaml:"name"`
	// OCI is "oci://host/path/name".
	OCI       string `yaml:"oci"`
	Archive   string `yaml:"archive"`
	Directory string `yaml:"directory"`
	// Version is that which this fleet-deploy was made for by default, and
	// Digest pins the chart, "sha256:…".
	Version string `yaml:"version"`
	Digest  string `yaml:"digest"`
	// User and PasswordFile log in at a repository or registry.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"passwordFile"`
}

// chartPassword is the one secret that is needed to make a bundle.
const chartPassword = "chart.passwordFile"

// clusterOpener opens what is in the cluster of a site.
type clusterOpener struct {
	site        *Site
	environment Environment
	topology    *kube.Topology
	// bundling says that there is no cluster, and need not be every file.
	bundling bool
}

func (s *Site) openCluster(environment Environment, opened *Opened) error {
	if err := s.checkImages(environment); err != nil {
		return err
	}
	if s.Nats == nil && s.Zitadel == nil && s.ZitadelSetup == nil && s.Operator == nil {
		return nil
	}
	o := &clusterOpener{site: s, environment: environment}
	var err error
	o.topology, err = kube.New(kube.Config{Kubeconfig: o.path(s.Kubernetes.Kubeconfig), Context: s.Kubernetes.Context})
	if err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	if environment.Bundle != nil && s.Images != nil {
		if opened.images, err = s.registry(o); err != nil {
			return err
		}
	}
	opened.bundle = environment.Bundle
	return o.open(opened)
}

// open adds the targets of the cluster.
func (o *clusterOpener) open(opened *Opened) error {
	s := o.site
	var provider *zitadel.FleetZitadelScore
	if s.Zitadel != nil {
		var err error
		if provider, err = o.zitadel(); err != nil {
			return fmt.Errorf("zitadel: %w", err)
		}
		if err := add[zitadel.Cluster](opened, "zitadel", provider, o.topology); err != nil {
			return fmt.Errorf("zitadel: %w", err)
		}
	}
	if s.ZitadelSetup != nil {
		score, err := o.zitadelSetup(provider)
		if err != nil {
			return fmt.Errorf("zitadelSetup: %w", err)
		}
		if err := add[zitadelsetup.Cluster](opened, "zitadelSetup", score, o.topology); err != nil {
			return fmt.Errorf("zitadelSetup: %w", err)
		}
		opened.Targets[len(opened.Targets)-1].Stage = 1 // it needs zitadel
	}
	if s.Nats != nil {
		score, err := o.nats()
		if err != nil {
			return fmt.Errorf("nats: %w", err)
		}
		if err := add[nats.Cluster](opened, "nats", score, o.topology); err != nil {
			return fmt.Errorf("nats: %w", err)
		}
	}
	if s.Operator != nil {
		score, err := o.operator()
		if err != nil {
			return fmt.Errorf("operator: %w", err)
		}
		if err := add[operator.Cluster](opened, "operator", score, o.topology); err != nil {
			return fmt.Errorf("operator: %w", err)
		}
	}
	return nil
}

// add adds a target when the Score's input is right.
func add[T any](opened *Opened, name string, score deploy.Score[T], topology T) error {
	resources, err := score.Resources(topology)
	if err != nil {
		return err
	}
	target := Target{Name: name, Job: deploy.For(score).On(topology), releases: bundle.Releases(resources)}
	if opened.bundle != nil {
		bundled := bundle.From(score, opened.bundle, opened.images)
		target.Job = deploy.For(bundled).On(topology)
		target.check = func() error { _, err := bundled.Resources(topology); return err }
	}
	opened.Targets = append(opened.Targets, target)
	return nil
}

func (o *clusterOpener) path(name string) string { return o.site.path(name, o.environment.Getenv) }

// read returns a file's content, and nothing for no name.
func (o *clusterOpener) read(key, name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	data, err := os.ReadFile(o.path(name))
	if o.bundling && key != chartPassword && errors.Is(err, fs.ErrNotExist) {
		return []byte(standIn), nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return data, nil
}

// secret is read without the end of its line.
func (o *clusterOpener) secret(key, name string) ([]byte, error) {
	data, err := o.read(key, name)
	return bytes.TrimRight(data, "\r\n"), err
}

// chart returns the source, nil for the upstream one.
func (o *clusterOpener) chart(c Chart, name, version string) (kube.ChartSource, error) {
	password, err := o.secret(chartPassword, c.PasswordFile)
	if err != nil {
		return nil, err
	}
	version = first(c.Version, version)
	var found []kube.ChartSource
	if c.Repository != "" {
		found = append(found, kube.Repository{
			URL: c.Repository, Name: first(c.Name, name), Version: version, Digest: c.Digest, User: c.User, Password: password,
		})
	}
	if c.OCI != "" {
		found = append(found, kube.OCI{Reference: c.OCI, Version: version, Digest: c.Digest, User: c.User, Password: password})
	}
	if c.Archive != "" {
		found = append(found, kube.Archive{Path: o.path(c.Archive), Version: version, Digest: c.Digest})
	}
	if c.Directory != "" {
		at := o.path(c.Directory)
		found = append(found, kube.Directory{Files: os.DirFS(at), Name: at, Version: version, Digest: c.Digest})
	}
	switch {
	case len(found) > 1:
		return nil, fmt.Errorf("chart: name one of repository, oci, archive and directory")
	case len(found) == 1:
		return found[0], nil
	}
	return nil, nil
}
