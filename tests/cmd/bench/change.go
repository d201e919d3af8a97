package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/devserver"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

const (
	changeDevice = contracts.DeviceID("bench")
	changeOwner  = "bench"
	changeBound  = 50 // ms
)

// change measures the way of a change from the publisher through the broker and
// the agent to a running container, image present, and in between the same
// container made by calling the engine directly.
func (b *bench) change(ctx context.Context, dir string) (err error) {
	engine, stop, err := startEngine(ctx, b.root)
	if errors.Is(err, errNoEngine) {
		b.figure("from a desired state to the running container", "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	meter, err := newMeter(ctx, engine.Socket()+".metered", engine.Socket())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, meter.close()) }()
	rig, err := newRig(ctx, b.bin, filepath.Join(dir, "change"), true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rig.close()) }()
	c, err := newChanger(ctx, rig, meter)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close(ctx)) }()
	return c.measure(ctx, b)
}

// changer is a publisher and a device's agent on a metered engine.
type changer struct {
	rig        *rig
	meter      *meter
	key        ed25519.PrivateKey
	generation uint64
	revision   domain.Revision
	agent      *fleettest.Program
	stopSync   func() error
	engine     *http.Client
}

func newChanger(ctx context.Context, rig *rig, meter *meter) (*changer, error) {
	c := &changer{rig: rig, meter: meter}
	var err error
	if _, c.key, err = ed25519.GenerateKey(nil); err != nil {
		return nil, err
	}
	c.engine = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", meter.Socket)
	}}}
	seed := filepath.Join(rig.dir, "device.nk")
	deviceKey, err := devserver.UserKey(seed)
	if err != nil {
		return nil, err
	}
	rig.server.AddDevice(changeDevice, deviceKey)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- nats.NewSyncService(rig.conn, nats.SyncOptions{}).Run(serving) }()
	c.stopSync = func() error {
		stop()
		return <-served
	}
	public, _ := c.key.Public().(ed25519.PublicKey)
	config := filepath.Join(rig.dir, "agent.toml")
	text := fmt.Sprintf("device = %q\nstate_dir = %q\nsigning_keys = [%q]\n[broker]\nservers = [%q]\nnkey_file = %q\n[podman]\nsocket = %q\nowner = %q\n",
		changeDevice, filepath.Join(rig.dir, "state"), contracts.FormatPublicKey(public), rig.server.URL(), seed, meter.Socket, changeOwner)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, errors.Join(err, c.stopSync())
	}
	c.agent, err = fleettest.Start("agent", filepath.Join(rig.bin, "fleet-agent"), []string{"--config", config}, nil, nil)
	return c, err
}

func (c *changer) close(ctx context.Context) error {
	err := c.publish(context.WithoutCancel(ctx), "")
	if err == nil {
		err = c.awaitContainers(ctx, 0)
	}
	return errors.Join(err, c.agent.Stop(syscall.SIGTERM, 30*time.Second), c.stopSync())
}

// measure does pairs, one after the other, and judges them.
func (c *changer) measure(ctx context.Context, b *bench) error {
	// The first is not counted: the agent connects and looks at the engine.
	if _, err := c.pair(ctx, 0); err != nil {
		return err
	}
	var through, direct, apart, ours series
	for i := range b.changes {
		p, err := c.pair(ctx, i+1)
		if err != nil {
			return fmt.Errorf("change %d: %w\n%s", i+1, err, c.agent.Output())
		}
		through = append(through, p.through)
		direct = append(direct, p.direct)
		apart = append(apart, p.through-p.direct)
		ours = append(ours, p.through-p.engine)
	}
	b.figure(fmt.Sprintf("from a desired state to the running container, %d changes", b.changes), "p50 %.1f ms, p99 %.1f ms", through.at(50), through.at(99))
	b.figure("  the same container by direct calls, in between", "p50 %.1f ms, p99 %.1f ms", direct.at(50), direct.at(99))
	b.figure("  difference of each pair", "p50 %.1f ms, p99 %.1f ms", apart.at(50), apart.at(99))
	b.figure("  all but the engine's own create and start, p50", "%.2f ms", ours.at(50))
	b.most("  all but the engine's own create and start, p99", "ms", ours.at(99), changeBound)
	return nil
}

// pair is one container made by the agent and one made directly.
type pair struct {
	// through is from the publication, direct from the first call, both until
	// the engine has answered the start. engine is how much of through it took
	// to create and to start.
	through, engine, direct time.Duration
}

func (c *changer) pair(ctx context.Context, i int) (pair, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var p pair
	c.meter.expect()
	began := time.Now()
	if err := c.publish(ctx, fmt.Sprintf("app-%d", i)); err != nil {
		return p, err
	}
	at, engine, err := c.meter.await(ctx)
	if err != nil {
		return p, err
	}
	p.through, p.engine = at.Sub(began), engine
	spec, err := c.foreign()
	if err != nil {
		return p, err
	}
	if err := c.publish(ctx, ""); err != nil {
		return p, err
	}
	if err := c.awaitContainers(ctx, 0); err != nil {
		return p, err
	}
	p.direct, err = c.makeDirectly(ctx, spec)
	return p, err
}

// publish publishes a desired state with one deployment, or none.
func (c *changer) publish(ctx context.Context, name string) error {
	c.generation++
	state := contracts.DesiredState{Device: changeDevice, Generation: c.generation, HeartbeatInterval: contracts.DefaultHeartbeatInterval}
	if name != "" {
		state.Deployments = []contracts.DesiredDeployment{{
			Name: contracts.DeploymentName(name), Generation: c.generation,
			Score: contracts.ReconcileScore{
				Type: contracts.ScorePodmanV0,
				Data: fmt.Appendf(nil, `{"services":[{"name":"app","image":%q,"pullPolicy":"never"}]}`, benchImage),
			},
		}}
	}
	document, err := contracts.Encode(state)
	if err != nil {
		return err
	}
	result := c.rig.desired.Publish(ctx, []domain.DesiredDocument{{Device: changeDevice, Envelope: contracts.Sign(document, c.key), Revision: c.revision}})[0]
	c.revision = result.Revision
	return result.Err
}

// call does one call on the metered engine.
func (c *changer) call(ctx context.Context, method, path string, in []byte, out any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://engine/v1.41"+path, bytes.NewReader(in))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.engine.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, data)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(data, out)
	}
	return err
}

// awaitContainers waits until the engine has n containers.
func (c *changer) awaitContainers(ctx context.Context, n int) error {
	return fleettest.Until(ctx, fmt.Sprintf("%d containers", n), func() (bool, string) {
		var all []json.RawMessage
		err := c.call(ctx, http.MethodGet, "/containers/json?all=1", nil, &all)
		return err == nil && len(all) == n, fmt.Sprintf("%d (%v)", len(all), err)
	})
}

// foreign is what the agent created its last container from, without the labels
// by which it would take it for its own.
func (c *changer) foreign() ([]byte, error) {
	var spec map[string]json.RawMessage
	if err := json.Unmarshal(c.meter.created(), &spec); err != nil {
		return nil, fmt.Errorf("what the agent created: %w", err)
	}
	delete(spec, "Labels")
	return json.Marshal(spec)
}

// makeDirectly creates and starts a container, and returns how long that took
// before it removes it again.
func (c *changer) makeDirectly(ctx context.Context, spec []byte) (time.Duration, error) {
	c.meter.expect()
	began := time.Now()
	var made struct{ ID string }
	if err := c.call(ctx, http.MethodPost, "/containers/create?name=direct", spec, &made); err != nil {
		return 0, err
	}
	if err := c.call(ctx, http.MethodPost, "/containers/"+made.ID+"/start", nil, nil); err != nil {
		return 0, err
	}
	at, _, err := c.meter.await(ctx)
	if err != nil {
		return 0, err
	}
	return at.Sub(began), c.call(ctx, http.MethodDelete, "/containers/"+made.ID+"?force=1&v=1", nil, nil)
}

// series are durations of one kind.
type series []time.Duration

// at returns a percentile in milliseconds, by the nearest rank.
func (s series) at(percent int) float64 {
	sorted := slices.Sorted(slices.Values(s))
	rank := (len(sorted)*percent + 99) / 100
	return float64(sorted[max(rank, 1)-1]) / float64(time.Millisecond)
}
