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
)

// Site is the file. Unknown keys are errors. Paths are relative to the file.
type Site struct {
	// Kubernetes is the cluster of what follows.
	Kubernetes   Kubernetes    `yaml:"kubernetes"`
	Nats         *Nats         `yaml:"nats"`
	Zitadel      *Zitadel      `yaml:"zitadel"`
	ZitadelSetup *ZitadelSetup `yaml:"zitadelSetup"`
	Operator     *Operator     `yaml:"operator"`
	Agents       *Agents       `yaml:"agents"`
	dir          string
}

// Environment is what the targets take from the process.
type Environment struct {
	Getenv func(string) (string, bool)
}

// Target is one thing to bring up somewhere.
type Target struct {
	Name       string
	Job        deploy.Job
	Companions []deploy.Companion
	// Stage is when: after all of lower ones.
	Stage int
}

// Opened are the targets of a site, with what is to be closed after use.
type Opened struct {
	Targets []Target
	Closers []io.Closer
}

// Read reads a site's file.
func Read(path string) (*Site, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no file %s: name the one that describes the site with --file; docs/deploy.md has an example", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the site: %w", err)
	}
	site, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	site.dir = filepath.Dir(path)
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
	if site.Agents == nil && site.Nats == nil && site.Zitadel == nil && site.ZitadelSetup == nil && site.Operator == nil {
		return nil, errors.New("it describes nothing: write nats, zitadel, zitadelSetup, operator or agents; docs/deploy.md has an example")
	}
	return &site, nil
}

// Open reads the files that the site names and prepares its targets, without
// connecting to them.
func (s *Site) Open(environment Environment) (*Opened, error) {
	opened := &Opened{}
	err := s.openCluster(environment, opened)
	if err == nil {
		err = s.openAgents(environment, opened)
	}
	if err != nil {
		for _, closer := range opened.Closers {
			err = errors.Join(err, closer.Close())
		}
		return nil, err
	}
	return opened, nil
}

// Only returns the targets of these names, or all.
func (o *Opened) Only(names []string) ([]Target, error) {
	if len(names) == 0 {
		return o.Targets, nil
	}
	var chosen []Target
	var have []string
	for _, target := range o.Targets {
		have = append(have, target.Name)
		if slices.Contains(names, target.Name) {
			chosen = append(chosen, target)
		}
	}
	for _, name := range names {
		if !slices.Contains(have, name) {
			return nil, fmt.Errorf("--only %s: the site has no such target; it has %s", name, strings.Join(have, ", "))
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
