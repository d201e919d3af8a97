package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// event is one line of go test -json; see "go doc test2json".
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build events
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string // the ImportPath of the build that kept the package from running
}

// testModule runs the module's tests to the end and feeds their events to results.
// Cancelling ctx ends them.
func testModule(ctx context.Context, root string, module selection, args []string, results *summary) {
	cmd := exec.CommandContext(ctx, "go", slices.Concat(args, module.patterns)...)
	cmd.Dir = filepath.Join(root, filepath.FromSlash(module.dir))
	cmd.Env = append(os.Environ(), "GOWORK=off")
	// The go command does not stop its test binaries when it is interrupted, so they are
	// signalled as one process group, and none outlives this function.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 2 * time.Second
	var stderr, stray bytes.Buffer // stray lines on stdout: the go command's own words, not a test's
	cmd.Stderr = &stderr

	results.startModule(module.dir)
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		results.failed(fmt.Sprintf("%s: go test did not start: %v", module.dir, err))
		return
	}
	lines := bufio.NewReader(stdout)
	for {
		line, readErr := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil {
				results.event(e)
			} else {
				stray.Write(line)
			}
		}
		if readErr != nil {
			break
		}
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // usually nobody is left
	}
	results.endModule(err, strings.TrimSpace(stray.String()+stderr.String()))
}
