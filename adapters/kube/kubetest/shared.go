package kubetest

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// Shared is an Environment that is started by the first test that asks for it.
type Shared struct {
	options Options

	once sync.Once
	env  *Environment
	err  error
}

// NewShared returns an environment that is not started yet.
func NewShared(options Options) *Shared { return &Shared{options: options} }

// Get returns the running environment, and starts it if need be. The test fails
// when it cannot be started; it is skipped where the programs were never built,
// but in CI that is a failure too.
func (s *Shared) Get(tb testing.TB) *Environment {
	tb.Helper()
	s.once.Do(func() { s.env, s.err = Start(s.options) })
	switch {
	case s.err == nil:
	case errors.Is(s.err, errNotBuilt) && os.Getenv("CI") == "":
		tb.Skip(s.err.Error())
	default:
		tb.Fatalf("start a Kubernetes API server: %v", s.err)
	}
	return s.env
}

// Main runs the tests of a package and stops what they shared. It returns the
// exit code.
func Main(m *testing.M, shared ...*Shared) int {
	code := m.Run()
	for _, s := range shared {
		s.once.Do(func() {}) // no start from now on
		if s.env == nil {
			continue
		}
		if err := s.env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "kubetest:", err)
			code = max(code, 1)
		}
	}
	return code
}
