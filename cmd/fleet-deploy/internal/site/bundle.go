package site

import (
	"errors"
	"fmt"

	"github.com/nationtech/harmony-fleet/deploy/bundle"
	"github.com/nationtech/harmony-fleet/deploy/kube"
)

// Images is where the cluster gets the images of a bundle.
type Images struct {
	// Registry is host:port/path, without a scheme.
	Registry string `yaml:"registry"`
	// User and PasswordFile log in to push, and PullSecret names the Secret of the
	// namespace with which the cluster pulls.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"passwordFile"`
	PullSecret   string `yaml:"pullSecret"`
	// CAFile holds the only authorities to trust, and PlainHTTP is for a registry
	// without TLS.
	CAFile    string `yaml:"caFile"`
	PlainHTTP bool   `yaml:"plainHTTP"`
}

// standIn is what a file that is not there holds while a bundle is made: the
// machine that makes it needs none of the site's secrets. Every check of a
// secret's form takes it.
const standIn = "00000000000000000000000000000000"

// Releases returns the releases of the site's cluster, or of some of its
// targets, for a bundle. It needs no cluster, and none of the files with secrets.
func (s *Site) Releases(environment Environment, only []string) ([]*kube.Release, error) {
	opened := &Opened{}
	o := &clusterOpener{site: s, environment: environment, bundling: true}
	if err := o.open(opened); err != nil {
		return nil, err
	}
	targets, err := opened.Only(only)
	if err != nil {
		return nil, err
	}
	var releases []*kube.Release
	for _, target := range targets {
		releases = append(releases, target.releases...)
	}
	if len(releases) == 0 {
		return nil, errors.New("there is nothing to bundle: it describes no part of a cluster, and agents are installed from files")
	}
	return releases, nil
}

// registry is that of the site.
func (s *Site) registry(o *clusterOpener) (bundle.Registry, error) {
	r := bundle.Registry{Name: s.Images.Registry, User: s.Images.User, PlainHTTP: s.Images.PlainHTTP, PullSecret: s.Images.PullSecret}
	var err error
	if r.Password, err = o.secret("images.passwordFile", s.Images.PasswordFile); err != nil {
		return r, err
	}
	r.CA, err = o.read("images.caFile", s.Images.CAFile)
	return r, err
}

// checkImages refuses a registry that nothing would use.
func (s *Site) checkImages(environment Environment) error {
	if s.Images == nil || environment.Bundle != nil || environment.Removing {
		return nil
	}
	return fmt.Errorf("images: they are those of a bundle: name it with --bundle, or leave this out")
}
