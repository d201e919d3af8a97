package nats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	syncQueueGroup = "fleet-sync"
	// maxSyncRequest is generous: {"generation":9007199254740991} has 31 bytes.
	maxSyncRequest = 256
	// The server answers at most 1,024 subjects at once.
	maxSyncBatch     = 512
	syncWaiting      = 16384
	defaultSyncReads = 4
	syncReadTimeout  = 5 * time.Second
)

// SyncOptions tune a SyncService.
type SyncOptions struct {
	// Readers is how many batches are read at once; zero is 4.
	Readers int
	// Logger is told of refused requests and failed reads; nil for none.
	Logger *slog.Logger
}

// SyncStats count what a SyncService did since it was made.
type SyncStats struct {
	// Answered requests, those answered with nothing newer among them.
	Answered uint64
	// Refused requests named a reply subject that is not their device's own.
	Refused uint64
	// Dropped requests were malformed, too many, followed by another of the same
	// device, or could not be read; a device asks again.
	Dropped uint64
}

// SyncService answers devices that ask for their desired state. It reads with
// the operator's rights what devices have no right to read. Any number of them
// share the work.
type SyncService struct {
	conn    *Conn
	log     *slog.Logger
	readers int

	answered, refused, dropped atomic.Uint64
	// told is when a refusal was logged last, in Unix nanoseconds.
	told atomic.Int64
}

// syncRequest is one device that waits for an answer.
type syncRequest struct {
	device contracts.DeviceID
	held   uint64
	reply  string
}

// NewSyncService returns a service over the operator's connection.
func NewSyncService(conn *Conn, options SyncOptions) *SyncService {
	return &SyncService{
		conn:    conn,
		log:     orDiscard(options.Logger),
		readers: cmp.Or(options.Readers, defaultSyncReads),
	}
}

// Stats returns the counts so far.
func (s *SyncService) Stats() SyncStats {
	return SyncStats{Answered: s.answered.Load(), Refused: s.refused.Load(), Dropped: s.dropped.Load()}
}

// Run answers until ctx is cancelled and then returns nil, or the error of the
// subscription. It goes on across lost connections. A request that cannot be
// answered now is dropped: the device asks again.
func (s *SyncService) Run(ctx context.Context) error {
	waiting := make(chan syncRequest, syncWaiting)
	limit := askLimit{asked: map[string]int{}}
	sub, err := s.conn.nc.QueueSubscribe(contracts.AllSyncs, syncQueueGroup, func(msg *nats.Msg) {
		if !limit.allows(msg.Subject, time.Now()) {
			s.dropped.Add(1)
			return
		}
		request, err := s.accept(msg)
		if err != nil {
			s.tell(msg.Subject, err)
			return
		}
		select {
		case waiting <- request:
		default:
			s.dropped.Add(1)
		}
	})
	if err != nil {
		return translate(err, "subscribe to sync requests")
	}
	var readers sync.WaitGroup
	for range s.readers {
		readers.Go(func() { s.answerAll(ctx, waiting) })
	}
	<-ctx.Done()
	_ = sub.Unsubscribe() // fails when the connection is closed, and then it is ended
	readers.Wait()
	return nil
}

// asksPerSecond is how many questions of one device are looked at within a
// second; a device asks once for each connection.
const asksPerSecond = 10

// askLimit drops the flood of one device before it costs more than a look at
// its subject. It is used by one goroutine.
type askLimit struct {
	began time.Time
	asked map[string]int
}

func (l *askLimit) allows(subject string, now time.Time) bool {
	if now.Sub(l.began) >= time.Second {
		clear(l.asked)
		l.began = now
	}
	l.asked[subject]++
	return l.asked[subject] <= asksPerSecond
}

// accept checks a request. The broker never checks a reply subject, and would
// publish our answer wherever a device says, with our rights.
func (s *SyncService) accept(msg *nats.Msg) (syncRequest, error) {
	device, err := contracts.ParseSyncSubject(msg.Subject)
	if err != nil {
		s.dropped.Add(1)
		return syncRequest{}, err
	}
	if !strings.HasPrefix(msg.Reply, contracts.InboxPrefix(device)+".") {
		s.refused.Add(1)
		return syncRequest{}, domain.Errorf(domain.ErrPermissionDenied, "the reply subject is not in the inbox of device %q", device)
	}
	if len(msg.Data) > maxSyncRequest {
		s.dropped.Add(1)
		return syncRequest{}, domain.Errorf(domain.ErrInvalid, "the request has %d bytes, at most %d are allowed", len(msg.Data), maxSyncRequest)
	}
	body, err := contracts.Decode[contracts.SyncRequest](msg.Data)
	if err != nil {
		s.dropped.Add(1)
		return syncRequest{}, err
	}
	return syncRequest{device: device, held: body.Generation, reply: msg.Reply}, nil
}

// answerAll takes whatever waits, as one batch, and answers it.
func (s *SyncService) answerAll(ctx context.Context, waiting <-chan syncRequest) {
	for {
		batch := make(map[string]syncRequest)
		select {
		case <-ctx.Done():
			return
		case request := <-waiting:
			s.gather(batch, request)
		}
		for more, taken := true, 1; more && taken < maxSyncBatch; taken++ {
			select {
			case request := <-waiting:
				s.gather(batch, request)
			default:
				more = false
			}
		}
		s.answer(ctx, batch)
	}
}

// gather keeps one request of each device, the last: a device asks one question
// at a time, and one that asks many gets no more of our work for it.
func (s *SyncService) gather(batch map[string]syncRequest, request syncRequest) {
	key := desiredKey(request.device)
	if _, again := batch[key]; again {
		s.dropped.Add(1)
	}
	batch[key] = request
}

// answer reads the documents of a batch and answers each request.
func (s *SyncService) answer(ctx context.Context, batch map[string]syncRequest) {
	documents, err := s.read(ctx, batch)
	if err != nil {
		s.dropped.Add(uint64(len(batch)))
		if ctx.Err() == nil {
			s.log.Warn("desired state could not be read for sync requests", slog.Int("devices", len(batch)), slog.String("error", err.Error()))
		}
		return
	}
	for key, request := range batch {
		envelope := documents[key]
		if request.held > 0 && !isNewer(envelope, request.held) {
			envelope = nil
		}
		if s.conn.nc.Publish(request.reply, envelope) != nil {
			s.dropped.Add(1)
			continue
		}
		s.answered.Add(1)
	}
}

// tell logs a refusal, one per second at most: devices must not fill our log.
func (s *SyncService) tell(subject string, err error) {
	now, last := time.Now().UnixNano(), s.told.Load()
	if now-last >= int64(time.Second) && s.told.CompareAndSwap(last, now) {
		s.log.Warn("sync request refused", slog.String("subject", subject), slog.String("error", err.Error()))
	}
}

// read returns the documents of a batch by their keys.
func (s *SyncService) read(ctx context.Context, batch map[string]syncRequest) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, syncReadTimeout)
	defer cancel()
	keys := make([]string, 0, len(batch))
	for key := range batch {
		keys = append(keys, key)
	}
	documents := make(map[string][]byte, len(batch))
	messages, err := jetstreamext.GetLastMsgsFor(ctx, s.conn.js, bucketStream(contracts.BucketDesiredState), keys)
	if err != nil {
		return nil, err
	}
	for message, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		if !isDeletion(message.Header) {
			documents[message.Subject] = message.Data
		}
	}
	return documents, ctx.Err()
}

// isNewer reports whether an envelope's document has a higher generation. It
// looks at nothing else: the device verifies.
func isNewer(envelope []byte, held uint64) bool {
	var signed struct {
		Document struct {
			Generation uint64 `json:"generation"`
		} `json:"document"`
	}
	return json.Unmarshal(envelope, &signed) == nil && signed.Document.Generation > held
}
