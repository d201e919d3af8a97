package fleettest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Jumping is a program whose clock can be set while it runs, without touching the
// machine's: it is the program as it is, built with a Go runtime that adds an offset
// to the one place where all of Go reads the time of day. The clock that never
// jumps, which timers use, is left alone, as by a kernel whose clock is set.
type Jumping struct {
	// Path is that of the program.
	Path string
	// offset is the file with the offset in seconds.
	offset string
}

// jumpEnv names the file with the offset to the program.
const jumpEnv = "FLEET_TEST_CLOCK"

// clockSource is added to the program: it takes the offset at the start, and when it
// is signalled.
const clockSource = `package main

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	_ "unsafe"
)

//go:linkname testWallOffset runtime.testWallOffset
var testWallOffset int64

func init() {
	set := func() {
		text, err := os.ReadFile(os.Getenv("` + jumpEnv + `"))
		if err != nil {
			panic(err)
		}
		seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			panic(err)
		}
		atomic.StoreInt64(&testWallOffset, seconds)
	}
	set()
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR2)
	go func() {
		for range told {
			set()
		}
	}()
}
`

// offsetDeclaration is added to the runtime.
const offsetDeclaration = `
//go:linkname testWallOffset
var testWallOffset int64
`

// runtimeEdits turn the runtime's files, per architecture, into those with an
// offset. Each text stands there once.
func runtimeEdits(architecture string) map[string][][2]string {
	if architecture == "amd64" {
		return map[string][][2]string{
			"time_linux_amd64.s": {{"TEXT time·now<ABIInternal>(SB)", "TEXT ·realNow<ABIInternal>(SB)"}},
			"timeasm.go": {{
				"func time_now() (sec int64, nsec int32, mono int64)\n",
				"func time_now() (sec int64, nsec int32, mono int64) {\n\tsec, nsec, mono = realNow()\n\treturn sec + testWallOffset, nsec, mono\n}\n\n" +
					"func realNow() (sec int64, nsec int32, mono int64)\n" + offsetDeclaration,
			}},
		}
	}
	return map[string][][2]string{"timestub.go": {
		{"\treturn sec, nsec, nanotime()\n}\n", "\treturn sec + testWallOffset, nsec, nanotime()\n}\n" + offsetDeclaration},
	}}
}

// BuildJumping builds a program of the checkout at root into dir.
func BuildJumping(ctx context.Context, root, dir, architecture, program string) (*Jumping, error) {
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("find the Go runtime: %w", err)
	}
	source, err := filepath.Abs(filepath.Join(root, "cmd", program))
	if err != nil {
		return nil, err
	}
	replace := map[string]string{}
	write := func(original, text string) error {
		replace[original] = filepath.Join(dir, strconv.Itoa(len(replace))+filepath.Base(original))
		return os.WriteFile(replace[original], []byte(text), 0o600)
	}
	if err := write(filepath.Join(source, "clock_jumping.go"), clockSource); err != nil {
		return nil, err
	}
	for name, edits := range runtimeEdits(architecture) {
		original := filepath.Join(strings.TrimSpace(string(goroot)), "src", "runtime", name)
		text, err := os.ReadFile(original)
		if err != nil {
			return nil, err
		}
		edited := string(text)
		for _, edit := range edits {
			if strings.Count(edited, edit[0]) != 1 {
				return nil, fmt.Errorf("%s is not what was expected: %q does not stand there once; look how this version of Go reads the time", original, edit[0])
			}
			edited = strings.Replace(edited, edit[0], edit[1], 1)
		}
		if err := write(original, edited); err != nil {
			return nil, err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return nil, err
	}
	j := &Jumping{Path: filepath.Join(dir, program), offset: filepath.Join(dir, "offset")}
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-overlay", file, "-ldflags", "-s -w", "-o", j.Path, ".")
	command.Dir = source
	command.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOARCH="+architecture)
	if said, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s with a clock to set: %w\n%s", program, err, said)
	}
	return j, j.set(0)
}

// Env is what the program has to be started with.
func (j *Jumping) Env() []string { return []string{jumpEnv + "=" + j.offset} }

// Jump sets the clock of the running program to this much from the machine's.
func (j *Jumping) Jump(program *Program, offset time.Duration) error {
	if err := j.set(offset); err != nil {
		return err
	}
	return syscall.Kill(program.PID(), syscall.SIGUSR2)
}

func (j *Jumping) set(offset time.Duration) error {
	return os.WriteFile(j.offset, []byte(strconv.FormatInt(int64(offset/time.Second), 10)), 0o600)
}
