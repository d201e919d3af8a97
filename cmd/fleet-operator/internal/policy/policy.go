// Package policy reads which devices are approved without a person from files,
// and again when these change.
package policy

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

// Files name the lists; an empty name is no list.
type Files struct {
	Serials, MachineIDs string
	// Labels are rules such as "site=paris,ring=1": all of its labels must be
	// those of the intent.
	Labels []string
}

// Policy is the policy of the files as they are now. Safe for concurrent use.
type Policy struct {
	log    *slog.Logger
	labels []contracts.LabelSelector

	mu                sync.Mutex
	serials, machines list
}

// list is a file as it was last read.
type list struct {
	path    string
	changed time.Time
	size    int64
	list    enrollment.List
}

// Open reads the files.
func Open(files Files, log *slog.Logger) (*Policy, error) {
	p := &Policy{log: log, serials: list{path: files.Serials}, machines: list{path: files.MachineIDs}}
	for _, rule := range files.Labels {
		selector, err := parseRule(rule)
		if err != nil {
			return nil, err
		}
		p.labels = append(p.labels, selector)
	}
	for _, l := range []*list{&p.serials, &p.machines} {
		if err := l.refresh(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func parseRule(rule string) (contracts.LabelSelector, error) {
	labels := map[string]string{}
	for pair := range strings.SplitSeq(rule, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return contracts.LabelSelector{}, fmt.Errorf(`label rule %q: write KEY=VALUE, several joined by commas`, rule)
		}
		labels[key] = value
	}
	selector := contracts.LabelSelector{MatchLabels: labels}
	if err := selector.Validate(); err != nil {
		return contracts.LabelSelector{}, fmt.Errorf("label rule %q: %w", rule, err)
	}
	return selector, nil
}

// Rules returns what holds now. A file that cannot be read any more, or is
// wrong, is logged, and its last good content holds.
func (p *Policy) Rules() enrollment.Policy {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range []*list{&p.serials, &p.machines} {
		if err := l.refresh(); err != nil {
			p.log.Error("a list of devices to approve cannot be read; what it said before holds", slog.String("error", err.Error()))
		}
	}
	return enrollment.Rules{Serials: p.serials.list, MachineIDs: p.machines.list, Labels: p.labels}
}

// refresh reads the file if it changed.
func (l *list) refresh() error {
	if l.path == "" {
		return nil
	}
	info, err := os.Stat(l.path)
	if err != nil {
		return err
	}
	if l.list != nil && info.ModTime().Equal(l.changed) && info.Size() == l.size {
		return nil
	}
	file, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	read, err := enrollment.ReadList(file)
	if err != nil {
		return fmt.Errorf("%s: %w", l.path, err)
	}
	l.list, l.changed, l.size = read, info.ModTime(), info.Size()
	return nil
}
