// Package site reads the file that describes what to bring up, and opens its
// targets.
package site

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/bundle"
	"github.com/nationtech/harmony-fleet/deploy/kube"
)

// Site is the file. Unknown keys are errors. Paths are relative to the file.
type Site struct {
	// Kubernetes is the cluster of what follows.
	Kubernetes Kubernetes `yaml:"kubernetes"`
	// Images is for what is deployed from a bundle.
	Images       *Images       `yaml:"images"`
	Nats         *Nats         `yaml:"nats"`
	Zitadel      *Zitadel      `yaml:"zitadel"`
	ZitadelSetup *ZitadelSetup `yaml:"zitadelSetup"`
	Operator     *Operator     `yaml:"operator"`
	Callout      *Callout      `yaml:"callout"`
	Agents       *Agents       `yaml:"agents"`
	dir          string
	// Name is where it is described, for errors.
	Name string `yaml:"-"`
}

// Environment is what the targets take from the process.
type Environment struct {
	Getenv func(string) (string, bool)
	// Bundle has the charts and images of the cluster's parts, which are put into
	// the registry of the site; nil for those of their own places.
	Bundle *bundle.Bundle
	// Removing says that nothing will be deployed.
	Removing bool
}

// Target is one thing to bring up somewhere.
type Target struct {
	Name       string
	Job        deploy.Job
	Companions []deploy.Companion
	// Stage is when: after all of lower ones.
	Stage    int
	releases []*kube.Release
	// check says whether the bundle has what it needs; nil without a bundle.
	check func() error
}

// Opened are the targets of a site, with what is to be closed after use.
type Opened struct {
	Targets []Target
	Closers []io.Closer
	bundle  *bundle.Bundle
	images  bundle.Registry
}

// Source is where a site is described.
type Source struct {
	// Path is of a file, "-" for Stdin, and "" for Set alone.
	Path  string
	Stdin io.Reader
	// Set are further values, as path=value.
	Set []string
}

// Read reads a site.
func Read(source Source) (*Site, error) {
	var data []byte
	var err error
	name := source.Path
	switch source.Path {
	case "":
		name = "--set"
	case "-":
		name = "standard input"
		data, err = io.ReadAll(source.Stdin)
	default:
		data, err = os.ReadFile(source.Path)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no file %s: name the one that describes the site with --file, or describe it with --set; docs/deploy.md has an example", source.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the site: %w", err)
	}
	if len(source.Set) > 0 {
		if data, err = set(data, source.Set); err != nil {
			return nil, err
		}
	}
	site, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	site.Name = name
	if source.Path != "" && source.Path != "-" {
		site.dir = filepath.Dir(source.Path)
	}
	return site, nil
}

// Parse reads a site.
func Parse(data []byte) (*Site, error) {
	var site Site
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&site); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty; docs/deploy.md has an example")
		}
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds a second document: write one")
	}
	if site.Agents == nil && !site.hasCluster() {
		return nil, errors.New("it describes nothing: write nats, zitadel, zitadelSetup, operator, callout or agents; docs/deploy.md has an example")
	}
	return &site, nil
}

// Open reads the files that the site names and prepares its targets, without
// connecting to them.
func (s *Site) Open(environment Environment) (*Opened, error) {
	opened := &Opened{}
	err := s.openCluster(environment, opened)
	before := len(opened.Targets)
	if err == nil {
		err = s.openAgents(environment, opened)
	}
	for i := range opened.Targets[before:] {
		opened.Targets[before+i].Stage = 1 // agents need the broker
	}
	if err != nil {
		for _, closer := range opened.Closers {
			err = errors.Join(err, closer.Close())
		}
		return nil, err
	}
	return opened, nil
}

// Only returns the targets of these names, or all, when the bundle has what they
// need.
func (o *Opened) Only(names []string) ([]Target, error) {
	var chosen []Target
	var have []string
	for _, target := range o.Targets {
		have = append(have, target.Name)
		if len(names) == 0 || slices.Contains(names, target.Name) {
			chosen = append(chosen, target)
		}
	}
	for _, name := range names {
		if !slices.Contains(have, name) {
			return nil, fmt.Errorf("--only %s: the site has no such target; it has %s", name, strings.Join(have, ", "))
		}
	}
	for _, target := range chosen {
		if target.check == nil {
			continue
		}
		if err := target.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", target.Name, err)
		}
	}
	return chosen, nil
}

// path is a path of the file, from where the process is.
func (s *Site) path(name string, getenv func(string) (string, bool)) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		if home, ok := getenv("HOME"); ok {
			return filepath.Join(home, rest)
		}
	}
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.dir, name)
}
