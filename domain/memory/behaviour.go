package memory

import (
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Behaviour is how the services of one program act. The program of a process
// is the first word of its command, that of a container its image. The zero
// Behaviour runs until it is stopped.
type Behaviour struct {
	// Fail makes Apply fail with this reason and Message instead of starting.
	Fail    contracts.Reason
	Message string
	// Block makes Apply wait, with BlockReason as its progress, until the
	// behaviour is changed or ctx ends.
	Block       bool
	BlockReason contracts.Reason
	// Exits makes the program end with ExitCode once it has run for ExitAfter.
	Exits     bool
	ExitAfter time.Duration
	ExitCode  int
	// Output is written to the service's log at every start.
	Output string
	// IgnoresStop makes the program live until it is killed.
	IgnoresStop bool
}

// Behave sets how the program acts from its next start on, and lets go of the
// Apply calls that are blocked.
func (r *Runtime) Behave(program string, behaviour Behaviour) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behaviours[program] = behaviour
	r.bells.ring()
}

// Stopped is how a service was ended by Apply or Remove.
type Stopped struct {
	Deployment contracts.DeploymentName
	Service    string
	PID        int
	// Signal is the stop signal that was sent.
	Signal string
	// Killed says that it did not end within the grace period.
	Killed bool
}

// Stops returns how services were ended so far, oldest first.
func (r *Runtime) Stops() []Stopped {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Stopped(nil), r.stops...)
}

// Crash ends a running service with the exit code, as if by itself. It reports
// whether there was one.
func (r *Runtime) Crash(deployment contracts.DeploymentName, service string, exitCode int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.advance(now)
	s := r.find(deployment, service)
	if s == nil || !s.running {
		return false
	}
	s.end(now, exitCode)
	r.changed(deployment)
	return true
}

// Print writes text to a service's log. It reports whether there is one.
func (r *Runtime) Print(deployment contracts.DeploymentName, service, text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.find(deployment, service)
	if s == nil {
		return false
	}
	s.log.write(text)
	return true
}

// Reboot ends every service without a stop signal. They are started again as
// their restart policies say: "always" alone survives.
func (r *Runtime) Reboot() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.advance(now)
	for name, w := range r.workloads {
		for _, s := range w.services {
			s.reboot(now, r.nextPID())
		}
		r.changed(name)
	}
}

func (r *Runtime) find(deployment contracts.DeploymentName, service string) *service {
	if w := r.workloads[deployment]; w != nil {
		return w.services[service]
	}
	return nil
}
