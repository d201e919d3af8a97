package main

import (
	"fmt"
	"io"
	"strings"
)

// summary folds test events into progress lines, failures and counts.
type summary struct {
	out         io.Writer
	forbidSkips bool

	module   string
	packages map[string]*packageRun // of the current module, those not ended
	builds   map[string]*strings.Builder
	broken   bool // the current module has shown a failure

	passedCount int
	failures    []string
	skips       []string
}

// packageRun is a package whose tests are running.
type packageRun struct {
	output                  strings.Builder
	order                   []*testRun
	tests                   map[string]*testRun // the latest run of each test; -count runs it again
	passed, failed, skipped int
}

type testRun struct {
	name    string
	output  strings.Builder
	outcome string // pass, fail or skip; empty while it runs
}

func newSummary(out io.Writer, forbidSkips bool) *summary {
	return &summary{out: out, forbidSkips: forbidSkips}
}

// failed counts something that kept tests from running.
func (s *summary) failed(what string) {
	s.broken = true
	s.failures = append(s.failures, what)
	fmt.Fprintln(s.out, "FAIL ", what)
}

func (s *summary) startModule(dir string) {
	s.module = dir
	s.packages = map[string]*packageRun{}
	s.builds = map[string]*strings.Builder{}
	s.broken = false
	fmt.Fprintf(s.out, "== %s\n", dir)
}

// endModule closes the module, given how its go test ended and what that wrote to stderr.
func (s *summary) endModule(err error, stderr string) {
	for name := range s.packages {
		s.endPackage(name, event{Action: "fail", Package: name})
	}
	if err != nil && !s.broken {
		if stderr != "" {
			fmt.Fprintln(s.out, stderr)
		}
		s.failed(fmt.Sprintf("%s: go test did not run its tests: %v", s.module, err))
	}
}

func (s *summary) event(e event) {
	switch e.Action {
	case "build-output":
		if s.builds[e.ImportPath] == nil {
			s.builds[e.ImportPath] = &strings.Builder{}
		}
		s.builds[e.ImportPath].WriteString(e.Output)
		return
	case "build-fail":
		return
	}
	if e.Package == "" {
		return
	}
	p := s.packages[e.Package]
	if p == nil {
		p = &packageRun{tests: map[string]*testRun{}}
		s.packages[e.Package] = p
	}
	if e.Test == "" {
		switch e.Action {
		case "output":
			p.output.WriteString(e.Output)
		case "pass", "fail", "skip":
			s.endPackage(e.Package, e)
		}
		return
	}
	t := p.tests[e.Test]
	if t == nil || (e.Action == "run" && t.outcome != "") {
		t = &testRun{name: e.Test}
		p.tests[e.Test] = t
		p.order = append(p.order, t)
	}
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		s.endTest(e.Package, p, t, e.Action)
	}
}

// endTest counts one test and keeps of its output only what will be shown.
func (s *summary) endTest(pkg string, p *packageRun, t *testRun, outcome string) {
	t.outcome = outcome
	id := pkg + " " + t.name
	switch outcome {
	case "pass":
		s.passedCount++
		p.passed++
		t.output.Reset()
	case "skip":
		skipped := id + ": " + reason(t.output.String())
		t.output.Reset()
		if s.forbidSkips {
			p.failed++
			s.failures = append(s.failures, skipped+" (skipped, and skips are forbidden here)")
			return
		}
		p.skipped++
		s.skips = append(s.skips, skipped)
	case "fail":
		p.failed++
		s.failures = append(s.failures, id)
	}
}

// endPackage prints the package's line, after the output of what failed in it.
func (s *summary) endPackage(name string, e event) {
	p := s.packages[name]
	delete(s.packages, name)
	if e.Action == "skip" && len(p.tests) == 0 {
		fmt.Fprintf(s.out, "-     %s: no tests\n", name)
		return
	}
	if e.Action == "fail" {
		// A crash or a timeout ends the package before its running tests are told.
		for _, t := range p.order {
			if t.outcome == "" {
				t.output.WriteString("    (did not finish)\n")
				s.endTest(name, p, t, "fail")
			}
		}
		if p.failed == 0 {
			p.failed++
			why := "failed outside of its tests"
			if e.FailedBuild != "" {
				why = "does not build"
			}
			s.failures = append(s.failures, name+": "+why)
		}
	}
	if build := s.builds[e.FailedBuild]; build != nil {
		fmt.Fprint(s.out, build.String())
	}
	for _, t := range p.order {
		if t.outcome == "fail" {
			fmt.Fprint(s.out, t.output.String())
		}
	}
	verdict := "ok  "
	if e.Action == "fail" {
		fmt.Fprint(s.out, p.output.String())
	}
	if p.failed > 0 {
		verdict = "FAIL"
		s.broken = true
	}
	fmt.Fprintf(s.out, "%s  %s  %.1fs  %s\n", verdict, name, e.Elapsed, counts(p.passed, p.failed, p.skipped))
}

// finish prints the skipped tests, the failures and the counts; it reports whether nothing failed.
func (s *summary) finish() bool {
	if len(s.skips) > 0 {
		fmt.Fprintf(s.out, "\nskipped:\n  %s\n", strings.Join(s.skips, "\n  "))
	}
	if len(s.failures) > 0 {
		fmt.Fprintf(s.out, "\nfailed:\n  %s\n", strings.Join(s.failures, "\n  "))
	}
	fmt.Fprintf(s.out, "\n%s\n", counts(s.passedCount, len(s.failures), len(s.skips)))
	return len(s.failures) == 0
}

func counts(passed, failed, skipped int) string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", passed, failed, skipped)
}

// reason picks out of a skipped test's output what the test said.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}
