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
	"github.com/nationtech/harmony-fleet/deploy/server"
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

// hasCluster says whether anything of it is in the cluster.
func (s *Site) hasCluster() bool {
	return s.Nats != nil || s.Zitadel != nil || s.ZitadelSetup != nil || s.Operator != nil || s.Callout != nil
}

func (s *Site) openCluster(environment Environment, opened *Opened) error {
	if err := s.checkImages(environment); err != nil {
		return err
	}
	if !s.hasCluster() {
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
	if !o.site.hasCluster() {
		return nil
	}
	score, err := o.server()
	if err != nil {
		return err
	}
	return add[server.Cluster](opened, "server", score, o.topology)
}

// server is everything in the cluster as one target, since each part needs what
// others know.
func (o *clusterOpener) server() (*server.FleetServerScore, error) {
	s := o.site
	score := &server.FleetServerScore{Namespace: s.Kubernetes.Namespace}
	if s.Callout != nil {
		score.Operators = s.Callout.Operators
	}
	for _, part := range []struct {
		name string
		is   bool
		open func() error
	}{
		{"zitadel", s.Zitadel != nil, func() (err error) { score.Zitadel, err = o.zitadel(); return err }},
		{"zitadelSetup", s.ZitadelSetup != nil, func() (err error) { score.Setup, err = o.zitadelSetup(score.Zitadel); return err }},
		{"nats", s.Nats != nil, func() (err error) { score.Nats, err = o.nats(); return err }},
		{"operator", s.Operator != nil, func() (err error) { score.Operator, err = o.operator(); return err }},
		{"callout", s.Callout != nil, func() (err error) { score.Callout, err = o.callout(); return err }},
	} {
		if !part.is {
			continue
		}
		if err := part.open(); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if o.bundling && score.Callout != nil {
		// No image depends on a key, and those that are not here are no keys.
		score.Callout.Keys, score.Callout.OperatorNKey = nil, nil
		if score.Operator != nil {
			score.Operator.NKey = nil
		}
	}
	return score, nil
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
