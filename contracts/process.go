package contracts

import (
	"path"
	"strings"
)

// ProcessV0 runs supervised processes on the host itself.
type ProcessV0 struct {
	Services  []ProcessService `json:"services"`
	Lifecycle Lifecycle        `json:"lifecycle,omitzero"`
}

// ProcessService is one supervised process.
type ProcessService struct {
	Name string `json:"name"`
	// Command is the program and its first arguments. A program without a
	// slash is looked up in the agent's PATH.
	Command Command `json:"command"`
	// Args follow Command.
	Args []string `json:"args,omitempty"`
	// Env is added to a minimal environment (PATH, HOME, LANG, TZ); the agent's
	// own environment is not inherited.
	Env map[string]string `json:"env,omitempty"`
	// Dir is the working directory, absolute; default: a directory of the
	// service's own, which lives as long as the deployment.
	Dir string `json:"dir,omitempty"`
	// Restart is "always" (default), "on-failure" or "no".
	Restart RestartPolicy `json:"restart,omitempty"`
}

// Validate checks names, commands, variables and directories.
func (p ProcessV0) Validate() error {
	if len(p.Services) == 0 {
		return invalid("services", "must hold at least one service")
	}
	names := make([]string, len(p.Services))
	for i, service := range p.Services {
		names[i] = service.Name
	}
	if err := checkNames("services", names, map[string]bool{}); err != nil {
		return err
	}
	for i, service := range p.Services {
		if err := service.validate(); err != nil {
			return inItem("services", i, err)
		}
	}
	return in("lifecycle", p.Lifecycle.Validate())
}

func (s ProcessService) validate() error {
	if err := s.Command.checkProgram(); err != nil {
		return in("command", err)
	}
	if err := Command(s.Args).Validate(); err != nil {
		return in("args", err)
	}
	if err := checkEnv(s.Env); err != nil {
		return in("env", err)
	}
	if s.Dir != "" && !templated(s.Dir) && (!path.IsAbs(s.Dir) || strings.Contains(s.Dir, "\x00")) {
		return invalid("dir", "%q must be an absolute path", s.Dir)
	}
	return in("restart", s.Restart.Validate())
}
