package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/devserver"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// rig is a broker in this process, the real operator as another, and a raw
// connection that may do anything.
type rig struct {
	bin, dir    string
	deployments domain.DeploymentStore
	desired     domain.DesiredStatePublisher

	server   *devserver.Server
	stop     context.CancelFunc
	stopped  chan error
	conn     *nats.Conn
	raw      *natsgo.Conn
	js       jetstream.JetStream
	operator *fleettest.Program
	health   string
}

func newRig(ctx context.Context, bin, dir string, sync bool) (*rig, error) {
	r := &rig{bin: bin, dir: dir, stopped: make(chan error, 1)}
	operatorKey, err := devserver.UserKey(r.operatorNKey())
	if err != nil {
		return nil, err
	}
	rootSeed := filepath.Join(dir, "root.nk")
	rootKey, err := devserver.UserKey(rootSeed)
	if err != nil {
		return nil, err
	}
	r.server, err = devserver.New(devserver.Options{
		StoreDir: filepath.Join(dir, "store"), Operator: operatorKey, Unrestricted: []string{rootKey}, Sync: sync,
	})
	if err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	go func() { r.stopped <- r.server.Run(serving) }()
	if err := r.connect(ctx, rootSeed); err != nil {
		return nil, errors.Join(err, r.close())
	}
	_, _, err = fleettest.Run(ctx, filepath.Join(bin, "fleet-operator"), []string{"keygen", r.signingKey()}, nil)
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *rig) operatorNKey() string { return filepath.Join(r.dir, "operator.nk") }
func (r *rig) signingKey() string   { return filepath.Join(r.dir, "signing.pem") }

func (r *rig) connect(ctx context.Context, rootSeed string) error {
	var err error
	r.conn, err = nats.Connect(ctx, nats.Config{
		Servers: []string{r.server.URL()}, Name: "bench", Credential: nats.SeedFile(r.operatorNKey()), FailFast: true,
	})
	if err != nil {
		return err
	}
	if err := nats.Setup(ctx, r.conn, nats.SetupOptions{}); err != nil {
		return err
	}
	r.deployments, r.desired = nats.NewDeploymentStore(r.conn), nats.NewDesiredStatePublisher(r.conn)
	seed, err := natsgo.NkeyOptionFromSeed(rootSeed)
	if err != nil {
		return err
	}
	if r.raw, err = natsgo.Connect(r.server.URL(), seed); err != nil {
		return err
	}
	r.js, err = jetstream.New(r.raw, jetstream.WithPublishAsyncMaxPending(4000))
	return err
}

func (r *rig) close() error {
	err := r.stopOperator()
	if r.raw != nil {
		r.raw.Close()
	}
	if r.conn != nil {
		r.conn.Close()
	}
	r.stop()
	return errors.Join(err, <-r.stopped)
}

func id(i int) contracts.DeviceID { return contracts.DeviceID(fmt.Sprintf("device-%06d", i)) }

// pipeline publishes n messages, many of them on their way at a time, and waits
// until all are stored.
func (r *rig) pipeline(ctx context.Context, n int, message func(i int) (subject string, data []byte, err error)) error {
	acknowledgements := make([]jetstream.PubAckFuture, n)
	for i := range n {
		subject, data, err := message(i)
		if err != nil {
			return err
		}
		acknowledgements[i], err = r.js.PublishMsgAsync(&natsgo.Msg{Subject: subject, Data: data}, jetstream.WithStallWait(time.Minute))
		if err != nil {
			return err
		}
	}
	for _, acknowledgement := range acknowledgements {
		select {
		case <-acknowledgement.Ok():
		case err := <-acknowledgement.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// register fills the registry.
func (r *rig) register(ctx context.Context, n int) error {
	return r.pipeline(ctx, n, func(i int) (string, []byte, error) {
		record, err := contracts.Encode(contracts.DeviceRecord{ID: id(i), Labels: contracts.Labels{"site": "paris"}, RegisteredAt: time.Now()})
		return "$KV." + contracts.BucketDevices + "." + string(id(i)), record, err
	})
}

// envelopes returns what is stored for all devices.
func (r *rig) envelopes(ctx context.Context) ([]domain.DesiredDocument, error) {
	var all []domain.DesiredDocument
	err := r.desired.Load(ctx, func(document domain.DesiredDocument) error {
		all = append(all, document)
		return nil
	})
	return all, err
}

// publishRaw stores the same bytes under the same keys once more, without
// composing, signing or checking, and returns how long that took.
func (r *rig) publishRaw(ctx context.Context, documents []domain.DesiredDocument) (time.Duration, error) {
	began := time.Now()
	err := r.pipeline(ctx, len(documents), func(i int) (string, []byte, error) {
		return "$KV." + contracts.BucketDesiredState + "." + string(documents[i].Device), documents[i].Envelope, nil
	})
	return time.Since(began), err
}

// report says for every device that it runs what it should.
func (r *rig) report(n int) error {
	for i := range n {
		info, err := contracts.Encode(contracts.DeviceInfo{
			AgentVersion: "v0.0.0-bench", StartedAt: time.Now(),
			Inventory: contracts.Inventory{Hostname: string(id(i)), OS: "Debian GNU/Linux 12", Architecture: "arm64", CPUs: 4, MemoryBytes: 8 << 30},
		})
		if err != nil {
			return err
		}
		report, err := contracts.Encode(contracts.DeviceReport{
			Sequence: 1, AppliedGeneration: 2,
			Deployments: []contracts.DeploymentReport{{
				Name: "web", Generation: 1, Phase: contracts.PhaseRunning, Since: time.Now(),
				Services: []contracts.ServiceReport{{Name: "web", State: contracts.ServiceRunning, PID: 4711}},
			}},
		})
		if err != nil {
			return err
		}
		heartbeat, err := contracts.Encode(contracts.Heartbeat{Sequence: 1, AppliedGeneration: 2, ReportSequence: 1, AgentVersion: "v0.0.0-bench"})
		if err != nil {
			return err
		}
		err = errors.Join(
			r.raw.Publish(contracts.ReportSubject(id(i), contracts.ReportInfo), info),
			r.raw.Publish(contracts.ReportSubject(id(i), contracts.ReportState), report),
			r.raw.Publish(contracts.HeartbeatSubject(id(i)), heartbeat),
		)
		if err != nil {
			return err
		}
	}
	return r.raw.FlushTimeout(time.Minute)
}

func (r *rig) startOperator(ctx context.Context, args ...string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.health = listener.Addr().String()
	if err := listener.Close(); err != nil {
		return err
	}
	r.operator, err = fleettest.Start("operator", filepath.Join(r.bin, "fleet-operator"), append([]string{
		"run", "--server", r.server.URL(), "--nkey-file", r.operatorNKey(), "--signing-key-file", r.signingKey(),
		"--identity", "bench", "--health-address", r.health,
	}, args...), nil, nil)
	return err
}

func (r *rig) stopOperator() error {
	if r.operator == nil {
		return nil
	}
	operator := r.operator
	r.operator = nil
	return operator.Stop(syscall.SIGTERM, 30*time.Second)
}

func (r *rig) operatorMemory() int64 { return fleettest.Memory(r.operator.PID()) }

// operatorCPU is the processor time that the operator has used.
func (r *rig) operatorCPU() time.Duration { return fleettest.CPUTime(r.operator.PID()) }

// ownCPU is that of this process, in which the broker is.
func ownCPU() time.Duration { return fleettest.CPUTime(os.Getpid()) }

// operatorStatus is the part of /status that is needed here.
type operatorStatus struct {
	Phase                     string
	Devices, Online, Dirty    int
	Published, PublishedBytes int
}

func (r *rig) status(ctx context.Context) (operatorStatus, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.health+"/status", http.NoBody)
	if err != nil {
		return operatorStatus{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return operatorStatus{}, err
	}
	defer func() { _ = response.Body.Close() }()
	var status operatorStatus
	return status, json.NewDecoder(response.Body).Decode(&status)
}

// awaitPublished waits until the operator has stored n documents and returns
// the bytes of those stored since the last call.
func (r *rig) awaitPublished(ctx context.Context, n int) (int, error) {
	before, _ := r.status(ctx)
	var last operatorStatus
	err := fleettest.Until(ctx, fmt.Sprintf("%d documents to be stored", n), func() (bool, string) {
		status, err := r.status(ctx)
		last = status
		return err == nil && status.Published >= n && status.Dirty == 0, fmt.Sprintf("%+v (%v)\n%s", status, err, r.operator.Output())
	})
	return last.PublishedBytes - before.PublishedBytes, err
}

func (r *rig) awaitOnline(ctx context.Context, n int) error {
	return fleettest.Until(ctx, "the operator to know every device", func() (bool, string) {
		status, err := r.status(ctx)
		return err == nil && status.Phase == "Converged" && status.Online == n && status.Dirty == 0, fmt.Sprintf("%+v (%v)\n%s", status, err, r.operator.Output())
	})
}
