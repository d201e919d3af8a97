package progress_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/progress"
)

func story(target string, end deploy.State) []deploy.Event {
	at := func(step string, state deploy.State, message string) deploy.Event {
		return deploy.Event{Score: "agent " + target, Target: target, Step: step, State: state, Message: message}
	}
	begin := at("", deploy.StateStarted, "")
	begin.Steps = []string{"package", "service"}
	return []deploy.Event{
		begin,
		at("package", deploy.StateLooking, ""),
		at("package", deploy.StateUnchanged, "1.0 is installed"),
		at("service", deploy.StateLooking, ""),
		at("service", deploy.StateWorking, "start it"),
		at("service", end, "start it\nmore"),
		at("", end, "summary"),
	}
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	lines := progress.Lines(&out)
	for _, event := range story("pi-1", deploy.StateChanged) {
		lines.Observe(event)
	}
	require.Equal(t, `pi-1: package: unchanged: 1.0 is installed
pi-1: service: working: start it
pi-1: service: changed: start it
more
pi-1: changed: summary
`, out.String())
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	lines := progress.JSON(&out)
	for _, event := range story("pi-1", deploy.StateChanged) {
		lines.Observe(event)
	}
	all := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, all, 7)
	var event deploy.Event
	require.NoError(t, json.Unmarshal([]byte(all[2]), &event))
	require.Equal(t, deploy.Event{Score: "agent pi-1", Target: "pi-1", Step: "package", State: deploy.StateUnchanged, Message: "1.0 is installed"}, event)
}

// screen shows what a terminal would after these bytes.
func screen(t *testing.T, text string) []string {
	t.Helper()
	frames := strings.Split(text, "\r\x1b[J")
	return strings.Split(strings.TrimSuffix(frames[len(frames)-1], "\n"), "\n")
}

func TestTree(t *testing.T) {
	var out bytes.Buffer
	tree := progress.Tree(&out, func() (int, int) { return 40, 24 })
	for _, event := range story("pi-1", deploy.StateChanged)[:5] {
		tree.Observe(event)
	}
	require.Equal(t, []string{
		"… pi-1",
		"  ├─ = package: 1.0 is installed",
		"  └─ … service: start it",
	}, screen(t, out.String()))

	tree.Observe(story("pi-2", deploy.StateFailed)[0])
	require.Equal(t, []string{
		"… pi-1 1/2 service: start it",
		"… pi-2 0/2 ",
	}, screen(t, out.String()), "several take a line each")
	for _, event := range story("pi-2", deploy.StateFailed)[1:] {
		tree.Observe(event)
	}
	require.Equal(t, []string{
		"… pi-1 1/2 service: start it",
		"✗ pi-2: summary",
		"  ├─ = package: 1.0 is installed",
		"  └─ ✗ service: start it",
	}, screen(t, out.String()), "one in trouble is shown whole")
}

func TestTreeFitsTheTerminal(t *testing.T) {
	var out bytes.Buffer
	tree := progress.Tree(&out, func() (int, int) { return 20, 3 })
	for _, event := range story("pi-1", deploy.StateChanged) {
		tree.Observe(event)
	}
	lines := screen(t, out.String())
	require.Equal(t, []string{"… 2 lines above", "  └─ ✓ service: st…"}, lines)
}

// TestTreeOfManyFitsTheTerminal: whoever watches fifty hosts sees how many are
// done, what failed, and as many of the others as there is room for.
func TestTreeOfManyFitsTheTerminal(t *testing.T) {
	var out bytes.Buffer
	tree := progress.Tree(&out, func() (int, int) { return 80, 8 })
	for i := range 50 {
		events := story(fmt.Sprintf("pi-%d", i), deploy.StateFinished)
		switch {
		case i == 3:
			events = story("pi-3", deploy.StateFailed)
		case i >= 40:
			events = events[:5]
		}
		for _, event := range events {
			tree.Observe(event)
		}
		require.LessOrEqual(t, len(screen(t, out.String())), 7)
	}
	require.Equal(t, []string{
		"✓ 39 done",
		"✗ pi-3 service: start it",
		"… pi-40 1/2 service: start it",
		"… pi-41 1/2 service: start it",
		"… pi-42 1/2 service: start it",
		"… pi-43 1/2 service: start it",
		"… 6 more",
	}, screen(t, out.String()))
}
