package memory

import (
	"encoding/json"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	firstBackoff = 100 * time.Millisecond
	mostBackoff  = 10 * time.Second
	// stableAfter is how long a service must run for its crashes to be forgotten.
	stableAfter = 10 * time.Second
	// loopAfter is how many early ends in a row are a crash loop.
	loopAfter = 3
)

// service is one service of a workload. The lock of the runtime protects it.
type service struct {
	declared  declaredService
	behaviour Behaviour
	log       *serviceLog

	running   bool
	pid       int
	startedAt time.Time
	// startAt is when it shall start again; zero when it stays ended.
	startAt  time.Time
	exitCode *int
	restarts uint64
	// early is how many times in a row it ended before stableAfter.
	early int
}

// declaredService is what a score says about one service.
type declaredService struct {
	name    string
	image   string
	program string
	restart contracts.RestartPolicy
	// spec is compared to know whether the service has changed.
	spec string
}

// declared is what a score says.
type declared struct {
	services  []declaredService
	inits     []declaredService
	lifecycle contracts.Lifecycle
}

func declare(score contracts.ReconcileScore) (declared, error) {
	if score.Type == contracts.ScoreProcessV0 {
		return declareProcesses(score)
	}
	return declareContainers(score)
}

func declareProcesses(score contracts.ReconcileScore) (declared, error) {
	process, err := score.ProcessV0()
	if err != nil {
		return declared{}, err
	}
	d := declared{lifecycle: process.Lifecycle}
	for _, s := range process.Services {
		spec, err := json.Marshal(s)
		if err != nil {
			return declared{}, err
		}
		d.services = append(d.services, declaredService{name: s.Name, program: s.Command[0], restart: s.Restart.OrDefault(), spec: string(spec)})
	}
	return d, nil
}

func declareContainers(score contracts.ReconcileScore) (declared, error) {
	podman, err := score.PodmanV0()
	if err != nil {
		return declared{}, err
	}
	d := declared{lifecycle: podman.Lifecycle}
	for _, s := range podman.Services {
		spec, err := json.Marshal(s)
		if err != nil {
			return declared{}, err
		}
		d.services = append(d.services, declaredService{
			name: s.Name, image: s.Image, program: s.Image, restart: s.Restart.OrDefault(), spec: string(spec),
		})
	}
	for _, c := range podman.InitContainers {
		d.inits = append(d.inits, declaredService{name: c.Name, image: c.Image, program: c.Image})
	}
	return d, nil
}

// start makes it run from now on.
func (s *service) start(now time.Time, pid int) {
	s.running, s.pid, s.startedAt, s.startAt = true, pid, now, time.Time{}
	s.log.write(s.behaviour.Output)
}

// end makes it end by itself, and decides whether it starts again.
func (s *service) end(now time.Time, exitCode int) {
	if now.Sub(s.startedAt) < stableAfter {
		s.early++
	} else {
		s.early = 0
	}
	s.running, s.pid, s.exitCode = false, 0, &exitCode
	if s.declared.restart == contracts.RestartAlways || s.declared.restart == contracts.RestartOnFailure && exitCode != 0 {
		s.startAt = now.Add(min(firstBackoff<<min(s.early, 10), mostBackoff))
	}
}

// reboot makes it end as the host does.
func (s *service) reboot(now time.Time, pid int) {
	const killed = 137
	if s.running {
		s.exitCode = new(killed)
	}
	s.running, s.pid, s.startAt, s.early = false, 0, time.Time{}, 0
	if s.declared.restart == contracts.RestartAlways {
		s.start(now, pid)
	}
}

// next returns when the service changes by itself, or false.
func (s *service) next() (time.Time, bool) {
	switch {
	case !s.running:
		return s.startAt, !s.startAt.IsZero()
	case s.behaviour.Exits && (!s.looping() || s.behaviour.ExitAfter < stableAfter):
		return s.startedAt.Add(s.behaviour.ExitAfter), true
	default:
		return s.startedAt.Add(stableAfter), s.looping()
	}
}

// advance does what next said.
func (s *service) advance(at time.Time, pid func() int) {
	switch {
	case !s.running:
		s.restarts++
		s.start(at, pid())
	case s.behaviour.Exits && (!s.looping() || s.behaviour.ExitAfter < stableAfter):
		s.end(at, s.behaviour.ExitCode)
	default:
		s.early = 0
	}
}

func (s *service) looping() bool { return s.early >= loopAfter }

func (s *service) report() contracts.ServiceReport {
	report := contracts.ServiceReport{
		Name: s.declared.name, Image: s.declared.image, Restarts: s.restarts, ExitCode: clonePointer(s.exitCode), PID: s.pid,
	}
	switch {
	case s.running:
		report.State = contracts.ServiceRunning
	case !s.startAt.IsZero():
		report.State = contracts.ServiceRestarting
	default:
		report.State = contracts.ServiceExited
	}
	return report
}
