package process

import (
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// load reads the directory. A record that cannot be read costs the knowledge
// of one service alone: Apply then replaces what runs under its mark.
func (r *Runtime) load() error {
	names, err := dirNames(r.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		d := &deployment{name: contracts.DeploymentName(name), services: map[string]*service{}}
		dir := filepath.Join(r.dir, name)
		var kept deploymentRecord
		if err := readRecord(filepath.Join(dir, deploymentFile), &kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.options.Logger.Warn("deployment record not readable", slog.String("deployment", name), slog.Any("error", err))
		}
		d.generation = kept.Generation
		services, err := dirNames(dir)
		if err != nil {
			return err
		}
		for _, service := range services {
			s := r.newService(d.name, service)
			s.adopt()
			d.services[service] = s
		}
		r.deployments[d.name] = d
	}
	return nil
}

// adopt takes up what an earlier agent left of the service.
func (s *service) adopt() {
	var st state
	if err := readRecord(filepath.Join(s.dir, recordFile), &st.record); err != nil {
		s.logger().Warn("service record not readable", slog.Any("error", err))
		s.publish(state{})
		return
	}
	st.next = time.Now()
	id := st.record.Process
	switch {
	case s.runtime.host.alive(id):
		st.began = startTime(id)
		s.publish(st)
		s.logger().Info("service process adopted", slog.Int("pid", id.PID))
	case id.PID != 0:
		// It ended while nobody looked: no failure to count, and no pause.
		st.record.Process = identity{}
		st.record.NotBefore = nowTicks()
		st.record.Ended = true
		st.record.ExitCode = s.runtime.host.reap(id)
		s.store(st)
	case st.record.due():
		s.adoptUnrecorded(st)
	default:
		s.publish(st)
	}
}

// adoptUnrecorded finds the process whose start was not recorded because the
// agent ended just then: it leads a session, carries the service's mark and is
// younger than the record. Were there several, the next start ends them all.
func (s *service) adoptUnrecorded(st state) {
	var leaders []stat
	for _, member := range s.members(identity{}) {
		if member.session == member.pid && member.start >= st.record.NotBefore {
			leaders = append(leaders, member)
		}
	}
	if len(leaders) != 1 {
		s.publish(st)
		return
	}
	st.record.Process = identity{PID: leaders[0].pid, Start: leaders[0].start, Boot: s.runtime.host.boot}
	st.began = startTime(st.record.Process)
	s.store(st)
	s.logger().Info("service process adopted by its mark", slog.Int("pid", leaders[0].pid))
}

// startTime is by this host's clock now, whatever it was set to then.
func startTime(id identity) time.Time {
	age := nowTicks() - min(id.Start, nowTicks())
	return time.Now().Add(-time.Duration(age) * time.Second / ticksPerSecond)
}
