package nats_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// viewerConn returns a viewer's connection, as the fleet command makes it.
func viewerConn(t *testing.T, server *natstest.Server) *nats.Conn {
	t.Helper()
	token := server.Callout.Identity.Issue(principal("vera", "", domain.RoleViewer), time.Hour)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token.Value+"\n"), 0o600))
	conn, err := nats.Connect(t.Context(), nats.Config{Servers: []string{server.URL()}, Name: "viewer", Credential: nats.TokenFile(file), FailFast: true})
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	require.NoError(t, conn.DetectViewer(t.Context()))
	require.True(t, conn.Viewing())
	return conn
}

// A viewer sees what an operator sees, however the messages lie in the streams:
// close together, and with gaps that deletions left.
func TestViewerSeesWhatAnOperatorSees(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true})
	operator := server.Operator(t)
	require.NoError(t, operator.DetectViewer(t.Context()))
	require.False(t, operator.Viewing())
	viewer := viewerConn(t, server)

	devices := nats.NewDeviceRegistry(operator)
	for i := range 300 {
		id := contracts.DeviceID(fmt.Sprintf("pi-%d", i))
		device, err := devices.Create(t.Context(), domain.FleetDevice{ID: id, Labels: contracts.Labels{"n": fmt.Sprint(i % 7)}, RegisteredAt: time.Now()})
		require.NoError(t, err)
		switch {
		case i > 40 && i < 250 && i%50 != 0:
			require.NoError(t, devices.Delete(t.Context(), id, device.Revision))
		case i%3 == 0:
			device.Revoked = true
			_, err = devices.Update(t.Context(), device)
			require.NoError(t, err)
		}
	}
	want, err := devices.List(t.Context(), contracts.LabelSelector{})
	require.NoError(t, err)
	got, err := nats.NewDeviceRegistry(viewer).List(t.Context(), contracts.LabelSelector{})
	require.NoError(t, err)
	require.Len(t, want, 41+4+50)
	require.Equal(t, want, got)

	one, err := nats.NewDeviceRegistry(viewer).Get(t.Context(), "pi-3")
	require.NoError(t, err)
	require.True(t, one.Revoked)
	for _, gone := range []contracts.DeviceID{"pi-42", "nobody"} {
		_, err = nats.NewDeviceRegistry(viewer).Get(t.Context(), gone)
		require.ErrorIs(t, err, domain.ErrNotFound)
	}

	store := nats.NewDeploymentStore(operator)
	applied, err := store.Create(t.Context(), processDeployment("web", "1"))
	require.NoError(t, err)
	for i := range 5 {
		next := processDeployment("web", fmt.Sprint(i+2))
		next.Revision = applied.Revision
		applied, err = store.Update(t.Context(), next)
		require.NoError(t, err)
	}
	wantHistory, err := store.History(t.Context(), "web")
	require.NoError(t, err)
	gotHistory, err := nats.NewDeploymentStore(viewer).History(t.Context(), "web")
	require.NoError(t, err)
	require.Len(t, gotHistory, 6)
	require.Equal(t, wantHistory, gotHistory)
}

func TestViewerFollows(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true})
	operator, viewer := server.Operator(t), viewerConn(t, server)
	device := nats.NewObservedStateReporter(server.Device(t, "pi-1"), "pi-1")
	require.NoError(t, device.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}))

	heard := make(chan domain.Observation, 100)
	events := make(chan contracts.Event, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() {
		ended <- nats.NewObservedStateConsumer(viewer).Consume(ctx, func(o domain.Observation) error { heard <- o; return nil })
	}()
	go func() {
		ended <- nats.NewEventLog(viewer).Read(ctx, domain.EventQuery{Device: "pi-1", Follow: true}, func(e contracts.Event) error { events <- e; return nil })
	}()
	until := func(sequence uint64) {
		t.Helper()
		for {
			select {
			case o := <-heard:
				if o.Heartbeat != nil && o.Heartbeat.Sequence == sequence {
					assert.WithinDuration(t, time.Now(), o.At, patience)
					return
				}
			case <-time.After(patience):
				require.FailNow(t, "nothing was heard")
			}
		}
	}
	until(1)
	require.NoError(t, device.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 2}))
	until(2)
	require.NoError(t, nats.NewEventLog(operator).Append(t.Context(), contracts.Event{Time: time.Now(), Kind: contracts.EventDeviceRevoked, Device: "pi-1"}))
	select {
	case event := <-events:
		require.Equal(t, contracts.EventDeviceRevoked, event.Kind)
	case <-time.After(patience):
		require.FailNow(t, "no event came")
	}
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
}

// Whatever a viewer may not do is refused at once, and the reason is said: the
// broker itself would only not answer.
func TestViewerIsToldWhatItMayNot(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true})
	viewer := viewerConn(t, server)
	ctx := t.Context()
	server.Device(t, "pi-1")
	for what, do := range map[string]func() error{
		"register a device": func() error {
			_, err := nats.NewDeviceRegistry(viewer).Create(ctx, domain.FleetDevice{ID: "pi-2", RegisteredAt: time.Now()})
			return err
		},
		"change a device": func() error {
			_, err := domain.UpdateDevice(ctx, nats.NewDeviceRegistry(viewer), "pi-1", func(d *domain.FleetDevice) error { d.Revoked = true; return nil })
			return err
		},
		"deploy": func() error {
			_, _, err := domain.ApplyDeployment(ctx, nats.NewDeploymentStore(viewer), processDeployment("web", "1"))
			return err
		},
		"command": func() error {
			_, err := nats.NewCommandBus(viewer).Call(ctx, "pi-1", contracts.VerbPing, []byte("{}"))
			return err
		},
		"write an event": func() error {
			return nats.NewEventLog(viewer).Append(ctx, contracts.Event{Time: time.Now(), Kind: contracts.EventDeviceRevoked, Device: "pi-1"})
		},
		"invite": func() error {
			_, err := nats.NewTokenIssuer(viewer).IssueToken(ctx, "pi-2", time.Now().Add(time.Hour))
			return err
		},
		"see invitations": func() error { _, err := nats.NewEnrollmentStore(viewer).List(ctx); return err },
		"forget":          func() error { return nats.NewObservedStateConsumer(viewer).Forget(ctx, "pi-1") },
	} {
		err := do()
		require.ErrorIs(t, err, domain.ErrPermissionDenied, what)
		require.ErrorContains(t, err, "a viewer's", what)
	}
}

func TestTokenFileIsChecked(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	for _, file := range []string{empty, filepath.Join(t.TempDir(), "none")} {
		_, err := nats.Connect(t.Context(), nats.Config{Servers: []string{"nats://127.0.0.1:1"}, Credential: nats.TokenFile(file), FailFast: true})
		require.ErrorIs(t, err, domain.ErrInvalid)
		require.ErrorContains(t, err, "token file")
	}
}

func processDeployment(name contracts.DeploymentName, argument string) domain.FleetDeployment {
	return domain.FleetDeployment{Name: name, Origin: contracts.OriginCLI, Spec: contracts.DeploymentSpec{
		TargetSelector: &contracts.LabelSelector{},
		Score: contracts.ReconcileScore{
			Type: contracts.ScoreProcessV0,
			Data: json.RawMessage(fmt.Sprintf(`{"services":[{"name":"app","command":"sleep","args":[%q]}]}`, argument)),
		},
	}}
}
