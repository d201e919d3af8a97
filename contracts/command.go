package contracts

import (
	"encoding/json"
	"math"
	"slices"
	"time"
)

// Verb is what a command asks a device to do.
type Verb string

// The closed list of verbs.
const (
	VerbPing      Verb = "ping"      // say that you are there
	VerbLogs      Verb = "logs"      // a piece of a service's log
	VerbExec      Verb = "exec"      // run a command
	VerbDescribe  Verb = "describe"  // say all that you know about yourself
	VerbReconcile Verb = "reconcile" // compare with the runtime now, forget back-offs
	VerbReport    Verb = "report"    // send info and report again
	VerbRotate    Verb = "rotate"    // replace your key by a new one
)

// Verbs returns the closed list of verbs.
func Verbs() []Verb {
	return []Verb{VerbPing, VerbLogs, VerbExec, VerbDescribe, VerbReconcile, VerbReport, VerbRotate}
}

// Validate accepts the verbs of the closed list.
func (v Verb) Validate() error {
	if slices.Contains(Verbs(), v) {
		return nil
	}
	return invalid("", "%q is not a known verb", v)
}

// CommandReply answers any command: a result, or an error.
type CommandReply struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *CommandError   `json:"error,omitempty"`
}

// CommandError is a device's refusal or failure.
type CommandError struct {
	// Kind is the name of an error kind, such as "NotFound".
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// Validate requires a result or an error, not both.
func (r CommandReply) Validate() error {
	if r.Error != nil {
		if r.Error.Kind == "" || len(r.Error.Kind) > maxNameLength {
			return invalid("error.kind", "must be 1 to %d bytes", maxNameLength)
		}
		if !isNull(r.Result) {
			return invalid("result", "must be empty when there is an error")
		}
		return in("error", checkMessage(r.Error.Message))
	}
	if isNull(r.Result) {
		return invalid("result", "must not be empty when there is no error")
	}
	return nil
}

// Empty is the request or the result of a verb that needs none.
type Empty struct{}

// Validate always returns nil.
func (Empty) Validate() error { return nil }

// PingResult answers VerbPing.
type PingResult struct {
	AgentVersion string `json:"agentVersion"`
	// Time is the device's clock.
	Time   time.Time `json:"time"`
	Uptime Duration  `json:"uptime"`
}

// Validate checks the version and the uptime.
func (p PingResult) Validate() error {
	if err := checkVersion("agentVersion", p.AgentVersion); err != nil {
		return err
	}
	return checkDuration("uptime", p.Uptime, 0, math.MaxInt64)
}

// MaxLogChunk bounds the log bytes of one reply.
const MaxLogChunk = 64 << 10

// LogsRequest asks for the next piece of a service's log. The reader pulls:
// each reply names a session to go on with, so neither side holds more than
// one piece, and a session that nobody asks for ends by itself.
type LogsRequest struct {
	// Session goes on with an earlier reply's session; empty begins one.
	Session    string         `json:"session,omitempty"`
	Deployment DeploymentName `json:"deployment"`
	// Service may be empty when the deployment has one service.
	Service string `json:"service,omitempty"`
	// Tail is how many of the last lines to begin with; negative for all.
	Tail int `json:"tail"`
	// Follow keeps the session open at the end of the log.
	Follow bool `json:"follow,omitempty"`
	// Wait is the longest time to wait for new bytes when following, at most
	// 30s.
	Wait Duration `json:"wait,omitempty"`
}

// Validate checks names and bounds.
func (l LogsRequest) Validate() error {
	if err := l.Deployment.Validate(); err != nil {
		return in("deployment", err)
	}
	if l.Service != "" {
		if reason := checkLabel(l.Service); reason != "" {
			return invalid("service", "%s", reason)
		}
	}
	if err := checkText("session", l.Session, maxNameLength); err != nil {
		return err
	}
	return checkDuration("wait", l.Wait, 0, 30*time.Second)
}

// LogsResult is a piece of a log.
type LogsResult struct {
	Session string `json:"session,omitempty"`
	// Chunk is at most MaxLogChunk bytes, base64 on the wire.
	Chunk []byte `json:"chunk,omitempty"`
	// End means that there is nothing more and the session is closed.
	End bool `json:"end,omitempty"`
}

// Validate checks the chunk's size.
func (l LogsResult) Validate() error {
	if len(l.Chunk) > MaxLogChunk {
		return invalid("chunk", "must be at most %d bytes", MaxLogChunk)
	}
	if !l.End && l.Session == "" {
		return invalid("session", "must be set until the end")
	}
	return checkText("session", l.Session, maxNameLength)
}

// MaxExecOutput bounds the output of one command.
const MaxExecOutput = 256 << 10

// ExecRequest runs a command on the host, or in a service when a deployment is
// named. Devices refuse it unless their configuration allows it.
type ExecRequest struct {
	Deployment DeploymentName `json:"deployment,omitempty"`
	Service    string         `json:"service,omitempty"`
	Command    []string       `json:"command"`
	// Timeout after which the command is killed, 1s to 10m.
	Timeout Duration `json:"timeout"`
}

// Validate checks the command and the timeout.
func (e ExecRequest) Validate() error {
	if err := Command(e.Command).checkProgram(); err != nil {
		return in("command", err)
	}
	if e.Deployment != "" {
		if err := e.Deployment.Validate(); err != nil {
			return in("deployment", err)
		}
	}
	if e.Service != "" {
		if e.Deployment == "" {
			return invalid("service", "must be empty when no deployment is named")
		}
		if reason := checkLabel(e.Service); reason != "" {
			return invalid("service", "%s", reason)
		}
	}
	return checkDuration("timeout", e.Timeout, time.Second, 10*time.Minute)
}

// ExecResult is what a command printed and how it ended.
type ExecResult struct {
	// ExitCode is 128 and the signal's number when a signal ended the command,
	// and 126 or 127 when the program could not be executed.
	ExitCode int `json:"exitCode"`
	// Output is standard output and error.
	Output []byte `json:"output,omitempty"`
	// Truncated is set when there was more than MaxExecOutput.
	Truncated bool `json:"truncated,omitempty"`
	// TimedOut is set when the command was killed at the end of its timeout.
	TimedOut bool `json:"timedOut,omitempty"`
}

// Validate checks the output's size.
func (e ExecResult) Validate() error {
	if len(e.Output) > MaxExecOutput {
		return invalid("output", "must be at most %d bytes", MaxExecOutput)
	}
	return nil
}

// RotateRequest asks a device to enroll anew, with a new key, by a token that the
// fleet made for it. It is answered with Empty once the device has taken it on.
type RotateRequest struct {
	Token string `json:"token"`
}

// Validate checks the token's form and signature.
func (r RotateRequest) Validate() error {
	if _, err := ParseEnrollmentToken(r.Token); err != nil {
		return invalid("token", "is not an enrollment token")
	}
	return nil
}

// DescribeResult answers VerbDescribe.
type DescribeResult struct {
	Info   DeviceInfo   `json:"info"`
	Report DeviceReport `json:"report"`
	// DesiredGeneration is that of the desired state held on disk.
	DesiredGeneration uint64    `json:"desiredGeneration"`
	Time              time.Time `json:"time"`
	Uptime            Duration  `json:"uptime"`
}

// Validate checks both parts, the generation and the uptime.
func (d DescribeResult) Validate() error {
	if err := d.Info.Validate(); err != nil {
		return in("info", err)
	}
	if err := d.Report.Validate(); err != nil {
		return in("report", err)
	}
	if d.DesiredGeneration > MaxGeneration {
		return invalid("desiredGeneration", "must be at most %d", uint64(MaxGeneration))
	}
	return checkDuration("uptime", d.Uptime, 0, math.MaxInt64)
}

// canonical writes no null for an empty list.
func (d DescribeResult) canonical() Document {
	d.Report.Deployments = nonNil(d.Report.Deployments)
	return d
}
