package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	goMod   = "module example.com/m\n\ngo 1.26.0\n"
	passing = `package m

import "testing"

func TestFine(t *testing.T) {
	t.Log("noise of a passing test")
	t.Run("sub", func(t *testing.T) {})
}
`
	skipping = `package m

import "testing"

func TestSkipped(t *testing.T) { t.Skip("needs a container runtime: install podman") }

func TestPartly(t *testing.T) {
	t.Run("here", func(t *testing.T) { t.SkipNow() })
}
`
	failing = `package m

import "testing"

func TestParent(t *testing.T) {
	t.Run("good", func(t *testing.T) {})
	t.Run("bad", func(t *testing.T) { t.Error("got 2, want 1") })
}
`
	crashing = `package m

import "testing"

func TestBefore(t *testing.T) {}

func TestCrash(t *testing.T) {
	done := make(chan struct{})
	go func() { panic("out of ideas") }()
	<-done
}
`
	hanging = `package m

import "testing"

func TestHang(t *testing.T) { select {} }
`
)

// put writes a file below root.
func put(t *testing.T, root, name, content string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// testrun runs the command on a workspace of modules with the given test file each, and
// returns the exit code, the output and its last line.
func testrun(t *testing.T, modules map[string]string, ci string, args ...string) (int, string, string) {
	t.Helper()
	root := t.TempDir()
	work := "go 1.26.0\n"
	for dir, test := range modules {
		work += "\nuse ./" + dir + "\n"
		put(t, root, dir+"/go.mod", goMod)
		put(t, root, dir+"/m_test.go", test)
	}
	put(t, root, "go.work", work)
	// One of the tests below is about a module that cannot find its dependency.
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-mod=mod")

	var out bytes.Buffer
	code := run(t.Context(), append([]string{"-root", root}, args...), ci, &out, &out)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	return code, out.String(), lines[len(lines)-1]
}

func TestRun(t *testing.T) {
	tests := map[string]struct {
		modules  map[string]string
		ci       string
		args     []string
		code     int
		last     string
		want     []string
		unwanted []string
	}{
		"passing": {
			modules: map[string]string{"a": passing, "b": passing}, last: "4 passed, 0 failed, 0 skipped",
			want:     []string{"== a\n", "== b\n", "ok    example.com/m"},
			unwanted: []string{"noise of a passing test"},
		},
		"selected": {
			modules: map[string]string{"a": passing, "b": failing}, args: []string{"./a/..."},
			last: "2 passed, 0 failed, 0 skipped",
		},
		"one test": {
			modules: map[string]string{"a": failing}, args: []string{"-run", "TestParent/good"},
			last: "2 passed, 0 failed, 0 skipped",
		},
		"counted": {
			modules: map[string]string{"a": passing}, args: []string{"-count", "3"},
			last: "6 passed, 0 failed, 0 skipped",
		},
		"skipped": {
			modules: map[string]string{"a": skipping}, last: "1 passed, 0 failed, 2 skipped",
			want: []string{
				"skipped:\n  example.com/m TestSkipped: m_test.go:5: needs a container runtime: install podman\n" +
					"  example.com/m TestPartly/here: no reason given\n",
			},
		},
		"skipped in CI": {
			modules: map[string]string{"a": skipping}, ci: "true", code: 1, last: "1 passed, 2 failed, 0 skipped",
			want: []string{"TestSkipped: m_test.go:5: needs a container runtime: install podman (skipped, and skips are forbidden here)"},
		},
		"skips allowed in CI": {
			modules: map[string]string{"a": skipping}, ci: "1", args: []string{"-forbid-skips=false"},
			last: "1 passed, 0 failed, 2 skipped",
		},
		"failing": {
			modules: map[string]string{"a": failing, "b": passing}, code: 1, last: "3 passed, 2 failed, 0 skipped",
			want:     []string{"m_test.go:7: got 2, want 1", "FAIL  example.com/m", "example.com/m TestParent/bad\n"},
			unwanted: []string{"noise of a passing test", "TestParent/good"},
		},
		"crashing": {
			modules: map[string]string{"a": crashing}, code: 1, last: "1 passed, 1 failed, 0 skipped",
			want: []string{"panic: out of ideas", "example.com/m TestCrash\n"},
		},
		"hanging": {
			modules: map[string]string{"a": hanging}, args: []string{"-timeout", "200ms"},
			code: 1, last: "0 passed, 1 failed, 0 skipped", want: []string{"test timed out after 200ms", "example.com/m TestHang\n"},
		},
		"not building": {
			modules: map[string]string{"a": "package m\n\nvar x int = true\n", "b": passing},
			code:    1, last: "2 passed, 1 failed, 0 skipped", want: []string{"cannot use true", "example.com/m: does not build"},
		},
		"dependency missing": {
			modules: map[string]string{"a": "package m\n\nimport _ \"example.com/nowhere\"\n"},
			code:    1, last: "0 passed, 1 failed, 0 skipped", want: []string{"example.com/nowhere"},
		},
		"pattern that matches nothing": {
			modules: map[string]string{"a": passing}, args: []string{"./a/nosuch"},
			code: 1, last: "0 passed, 1 failed, 0 skipped", want: []string{"nosuch"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, out, last := testrun(t, test.modules, test.ci, test.args...)
			if code != test.code || last != test.last {
				t.Errorf("want exit code %d and %q, got %d and %q", test.code, test.last, code, last)
			}
			for _, want := range test.want {
				if !strings.Contains(out, want) {
					t.Errorf("the output does not say %q", want)
				}
			}
			for _, unwanted := range test.unwanted {
				if strings.Contains(out, unwanted) {
					t.Errorf("the output says %q", unwanted)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// TestRunInterrupted cancels a run while a test hangs and ignores the interrupt, and
// expects that test's process to be gone: the connection it holds breaks.
func TestRunInterrupted(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	t.Setenv("HELD_BY", listener.Addr().String())

	root := t.TempDir()
	put(t, root, "go.work", "go 1.26.0\n\nuse ./a\n")
	put(t, root, "a/go.mod", goMod)
	put(t, root, "a/m_test.go", `package m

import (
	"net"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

func TestHang(t *testing.T) {
	signal.Ignore(syscall.SIGINT)
	conn, err := net.Dial("tcp", os.Getenv("HELD_BY"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	select {}
}
`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"-root", root, "-count", "1"}, "", &out, &out)
		listener.Close() // unblocks Accept when the test never got to connect
	}()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatalf("testrun ended by itself with exit code %d:\n%s", <-done, out.String())
	}
	defer conn.Close()
	cancel()
	if code := <-done; code != 1 || !strings.HasSuffix(out.String(), "\n0 passed, 1 failed, 0 skipped\n") {
		t.Errorf("want exit code 1 and the counts, got %d:\n%s", code, out.String())
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the process of the hanging test is still there")
	}
}

func TestRunUsage(t *testing.T) {
	code, out, _ := testrun(t, map[string]string{"a": passing}, "", "./nowhere")
	if code != 2 || !strings.Contains(out, "./nowhere is in no module of go.work; its modules are a") {
		t.Errorf("want exit code 2 and the modules, got %d and %q", code, out)
	}
	code, out, _ = testrun(t, map[string]string{"a": passing}, "", "-help")
	if code != 0 || !strings.Contains(out, "parents included") {
		t.Errorf("want the help, got %d and %q", code, out)
	}
}

// TestRunProgramTests runs twice what the go command would answer from its cache.
func TestRunProgramTests(t *testing.T) {
	root, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	put(t, root, "go.work", "go 1.26.0\n\nuse ./tests\n")
	put(t, root, "tests/go.mod", goMod)
	put(t, root, "tests/m_test.go", `package m

import (
	"os/exec"
	"testing"
)

func TestRuns(t *testing.T) {
	if err := exec.Command("sh", "-c", "echo ran >>'`+log+`'").Run(); err != nil {
		t.Fatal(err)
	}
}
`)
	for range 2 {
		if code := run(t.Context(), []string{"-root", root}, "", io.Discard, io.Discard); code != 0 {
			t.Fatalf("exit code %d", code)
		}
	}
	if said, _ := os.ReadFile(log); string(said) != "ran\nran\n" {
		t.Errorf("the log holds %q, want two runs", said)
	}
}
