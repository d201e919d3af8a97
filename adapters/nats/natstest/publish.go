package natstest

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/devserver"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	publishChunk  = 1000
	publishAtOnce = 4
	rawPending    = 4000
	rawStream     = "KV_raw"
	rawSubject    = "$KV.raw."
)

// PublishMeasurement compares publishing desired state with the fastest way
// that nats.go has to store the same bytes with acknowledgements.
type PublishMeasurement struct {
	Devices int
	// Bytes of one envelope, on average.
	Bytes int
	// Fleet is the time to compose, sign and publish; Raw is that of pipelined
	// PublishMsgAsync of the finished envelopes, on the same broker.
	Fleet, Raw time.Duration
}

// Ratio is how fast publishing is, compared with raw publishing.
func (m PublishMeasurement) Ratio() float64 { return m.Raw.Seconds() / m.Fleet.Seconds() }

// String reports the rates in documents per second.
func (m PublishMeasurement) String() string {
	rate := func(d time.Duration) float64 { return float64(m.Devices) / d.Seconds() }
	return fmt.Sprintf("%d documents of %d bytes: composed, signed and published %.0f/s, raw %.0f/s, ratio %.2f",
		m.Devices, m.Bytes, rate(m.Fleet), rate(m.Raw), m.Ratio())
}

// MeasurePublish publishes one document to each of that many devices of a fresh
// broker with its store in dir, durable across a power cut or not.
func MeasurePublish(ctx context.Context, dir string, devices int, sync bool) (m PublishMeasurement, err error) {
	operatorKey, err := devserver.UserKey(dir + "/operator.nk")
	if err != nil {
		return m, err
	}
	server, err := devserver.New(devserver.Options{StoreDir: dir + "/store", Operator: operatorKey, Sync: sync})
	if err != nil {
		return m, err
	}
	running, stop := context.WithCancel(ctx)
	var serving errgroup.Group
	serving.Go(func() error { return server.Run(running) })
	defer func() {
		stop()
		if failed := serving.Wait(); err == nil {
			err = failed
		}
	}()
	conn, err := nats.Connect(ctx, nats.Config{
		Servers: []string{server.URL()}, Credential: nats.SeedFile(dir + "/operator.nk"), FailFast: true,
	})
	if err != nil {
		return m, err
	}
	defer conn.Close()
	if err := nats.Setup(ctx, conn, nats.SetupOptions{}); err != nil {
		return m, err
	}
	envelopes := make([][]byte, devices)
	began := time.Now()
	if err := publishFleet(ctx, nats.NewDesiredStatePublisher(conn), envelopes); err != nil {
		return m, err
	}
	m = PublishMeasurement{Devices: devices, Fleet: time.Since(began)}
	for _, envelope := range envelopes {
		m.Bytes += len(envelope)
	}
	m.Bytes /= devices
	m.Raw, err = publishRaw(ctx, server.URL(), dir+"/operator.nk", envelopes)
	return m, err
}

// publishFleet works as the operator does: some chunks are composed and signed
// while others are published.
func publishFleet(ctx context.Context, publisher domain.DesiredStatePublisher, envelopes [][]byte) error {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	keyID := contracts.KeyID(public)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(publishAtOnce)
	for begin := 0; begin < len(envelopes); begin += publishChunk {
		end := min(begin+publishChunk, len(envelopes))
		group.Go(func() error {
			documents := make([]domain.DesiredDocument, 0, end-begin)
			for i := begin; i < end; i++ {
				document, err := contracts.Encode(sampleState(i))
				if err != nil {
					return err
				}
				envelopes[i] = contracts.SignAs(document, keyID, key)
				documents = append(documents, domain.DesiredDocument{Device: deviceNumber(i), Envelope: envelopes[i]})
			}
			for _, result := range publisher.Publish(ctx, documents) {
				if result.Err != nil {
					return result.Err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func deviceNumber(i int) contracts.DeviceID {
	return contracts.DeviceID(fmt.Sprintf("device-%06d", i))
}

func sampleState(i int) contracts.DesiredState {
	return contracts.DesiredState{
		Device:     deviceNumber(i),
		Generation: 1,
		Deployments: []contracts.DesiredDeployment{{
			Name:       "web",
			Generation: 1,
			Score: contracts.ReconcileScore{
				Type: contracts.ScorePodmanV0,
				Data: json.RawMessage(`{"services":[{"name":"web","image":"registry.example/web@sha256:` +
					`9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","ports":["8080:80"],` +
					`"env":{"SITE":"paris","LEVEL":"info"},"volumes":["data:/var/lib/web"],"restart":"always"}]}`),
			},
		}},
		HeartbeatInterval: contracts.DefaultHeartbeatInterval,
	}
}

// publishRaw stores the envelopes in a bucket of the same form, without any of
// the fleet's guarantees but the broker's acknowledgement.
func publishRaw(ctx context.Context, url, seedFile string, envelopes [][]byte) (time.Duration, error) {
	credential, err := natsgo.NkeyOptionFromSeed(seedFile)
	if err != nil {
		return 0, err
	}
	conn, err := natsgo.Connect(url, credential)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(rawPending))
	if err != nil {
		return 0, err
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: rawStream, Subjects: []string{rawSubject + ">"}, MaxMsgsPerSubject: contracts.DesiredStateHistory,
		Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage, AllowDirect: true,
	})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	futures := make([]jetstream.PubAckFuture, len(envelopes))
	for i, envelope := range envelopes {
		message := &natsgo.Msg{Subject: rawSubject + string(deviceNumber(i)), Data: envelope}
		if futures[i], err = js.PublishMsgAsync(message, jetstream.WithStallWait(time.Minute)); err != nil {
			return 0, err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	took := time.Since(began)
	for _, future := range futures {
		select {
		case err := <-future.Err():
			return 0, err
		default:
		}
	}
	return took, nil
}
