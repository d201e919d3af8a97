package nats

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// The server takes at most 1,000 messages in a batch and 50 open batches per
	// stream. A few keep it busy, and two operators may publish at once during a
	// handover.
	maxBatchMessages = 1000
	maxBatchBytes    = 8 << 20
	openBatches      = 8
	// singlePublishes are how many documents of a refused batch are under way.
	singlePublishes = 64
	batchTimeout    = 30 * time.Second
)

// DesiredStatePublisher is the domain.DesiredStatePublisher in the bucket
// "desired-state".
type DesiredStatePublisher struct {
	bucket *bucket
	// slots bounds the open batches of all callers.
	slots chan struct{}
}

var _ domain.DesiredStatePublisher = (*DesiredStatePublisher)(nil)

// NewDesiredStatePublisher returns a publisher over conn.
func NewDesiredStatePublisher(conn *Conn) *DesiredStatePublisher {
	return &DesiredStatePublisher{
		bucket: newBucket(conn, contracts.BucketDesiredState),
		slots:  make(chan struct{}, openBatches),
	}
}

// Publish implements domain.DesiredStatePublisher. Documents go in atomic
// batches, several at a time. When a batch is refused, each of its documents is
// published alone, so that each has its own result. Callers that make documents
// while others are published call Publish concurrently.
func (d *DesiredStatePublisher) Publish(ctx context.Context, documents []domain.DesiredDocument) []domain.PublishResult {
	results := make([]domain.PublishResult, len(documents))
	var batches sync.WaitGroup
	for begin := 0; begin < len(documents); {
		end := batchEnd(documents, begin)
		part, into := documents[begin:end], results[begin:end]
		begin = end
		select {
		case d.slots <- struct{}{}:
		case <-ctx.Done():
			fail(into, domain.WrapError(domain.ErrUnavailable, ctx.Err(), "publish desired state"))
			continue
		}
		batches.Go(func() {
			defer func() { <-d.slots }()
			d.publishPart(ctx, part, into)
		})
	}
	batches.Wait()
	return results
}

// batchEnd returns the end of the batch that begins at begin.
func batchEnd(documents []domain.DesiredDocument, begin int) int {
	size := 0
	for i := begin; i < len(documents); i++ {
		size += len(documents[i].Envelope)
		if i > begin && (i-begin == maxBatchMessages || size > maxBatchBytes) {
			return i
		}
	}
	return len(documents)
}

func fail(results []domain.PublishResult, err error) {
	for i := range results {
		results[i].Err = err
	}
}

func (d *DesiredStatePublisher) publishPart(ctx context.Context, documents []domain.DesiredDocument, results []domain.PublishResult) {
	if len(documents) > 1 && d.publishBatch(ctx, documents, results) {
		return
	}
	limit := make(chan struct{}, singlePublishes)
	var all sync.WaitGroup
	for i := range documents {
		limit <- struct{}{}
		all.Go(func() {
			defer func() { <-limit }()
			results[i] = d.publishOne(ctx, documents[i])
		})
	}
	all.Wait()
}

// publishBatch publishes all documents or none. It returns false when the
// server refused the batch, so that nothing of it is stored.
func (d *DesiredStatePublisher) publishBatch(ctx context.Context, documents []domain.DesiredDocument, results []domain.PublishResult) bool {
	messages := make([]*nats.Msg, len(documents))
	for i, document := range documents {
		if checkDocument(document) != nil {
			return false
		}
		messages[i] = desiredMessage(document, document.Revision)
	}
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	ack, err := jetstreamext.PublishMsgBatch(ctx, d.bucket.conn.js, messages)
	if err != nil {
		if _, refused := errors.AsType[*jetstream.APIError](err); refused {
			return false
		}
		fail(results, domain.WrapError(domain.ErrUnavailable, err, "publish desired state of %d devices", len(documents)))
		return true
	}
	first := ack.Sequence - uint64(len(documents)) + 1
	for i := range results {
		results[i].Revision = domain.Revision(first + uint64(i))
	}
	return true
}

// publishOne publishes one document.
func (d *DesiredStatePublisher) publishOne(ctx context.Context, document domain.DesiredDocument) domain.PublishResult {
	if err := checkDocument(document); err != nil {
		return domain.PublishResult{Err: err}
	}
	ack, err := d.bucket.conn.js.PublishMsg(ctx, desiredMessage(document, document.Revision))
	if isWrongRevision(err) && document.Revision == 0 {
		ack, err = d.publishOverDeletion(ctx, document, err)
	}
	if err != nil {
		return domain.PublishResult{Err: translate(err, "publish desired state of device %q", document.Device)}
	}
	return domain.PublishResult{Revision: domain.Revision(ack.Sequence)}
}

// publishOverDeletion publishes where a deletion is the last that is stored: to
// the caller, nothing is stored there.
func (d *DesiredStatePublisher) publishOverDeletion(ctx context.Context, document domain.DesiredDocument, conflict error) (*jetstream.PubAck, error) {
	stream, err := d.bucket.conn.js.Stream(ctx, bucketStream(contracts.BucketDesiredState))
	if err != nil {
		return nil, err
	}
	last, err := stream.GetLastMsgForSubject(ctx, desiredKey(document.Device))
	if err != nil {
		return nil, err
	}
	if !isDeletion(last.Header) {
		return nil, conflict
	}
	return d.bucket.conn.js.PublishMsg(ctx, desiredMessage(document, domain.Revision(last.Sequence)))
}

func desiredKey(device contracts.DeviceID) string {
	return keySubject(contracts.BucketDesiredState, string(device))
}

func desiredMessage(document domain.DesiredDocument, over domain.Revision) *nats.Msg {
	return &nats.Msg{
		Subject: desiredKey(document.Device),
		Data:    document.Envelope,
		Header:  nats.Header{jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(uint64(over), 10)}},
	}
}

func checkDocument(document domain.DesiredDocument) error {
	if err := checkDevice(document.Device); err != nil {
		return err
	}
	switch size := len(document.Envelope); {
	case size == 0:
		return domain.Errorf(domain.ErrInvalid, "desired state of device %q is empty", document.Device)
	case size > contracts.MaxDocumentBytes+contracts.MaxEnvelopeBytes:
		return domain.Errorf(domain.ErrInvalid, "desired state of device %q has %d bytes, at most %d are allowed",
			document.Device, size, contracts.MaxDocumentBytes+contracts.MaxEnvelopeBytes)
	default:
		return nil
	}
}

// Get implements domain.DesiredStatePublisher.
func (d *DesiredStatePublisher) Get(ctx context.Context, device contracts.DeviceID) (domain.DesiredDocument, error) {
	if err := checkDevice(device); err != nil {
		return domain.DesiredDocument{}, err
	}
	envelope, revision, err := d.bucket.get(ctx, string(device))
	if err != nil {
		return domain.DesiredDocument{}, translate(err, "desired state of device %q", device)
	}
	return domain.DesiredDocument{Device: device, Envelope: envelope, Revision: revision}, nil
}

// Load implements domain.DesiredStatePublisher. A document that is replaced
// during the reading is handled again.
func (d *DesiredStatePublisher) Load(ctx context.Context, handle func(domain.DesiredDocument) error) error {
	prefix := desiredKey("")
	err := d.bucket.conn.follow(ctx, followSpec{
		stream:   bucketStream(contracts.BucketDesiredState),
		last:     true,
		caughtUp: func() error { return errCaughtUp },
	}, func(message stored) error {
		if isDeletion(message.header) || len(message.data) == 0 {
			return nil
		}
		return handle(domain.DesiredDocument{
			Device:   contracts.DeviceID(strings.TrimPrefix(message.subject, prefix)),
			Envelope: message.data,
			Revision: domain.Revision(message.sequence),
		})
	})
	return caughtUpOr(ctx, err)
}

// Remove implements domain.DesiredStatePublisher.
func (d *DesiredStatePublisher) Remove(ctx context.Context, device contracts.DeviceID, revision domain.Revision) error {
	if err := checkDevice(device); err != nil {
		return err
	}
	err := d.bucket.remove(ctx, string(device), revision)
	if err != nil && errors.Is(kindOf(err), domain.ErrNotFound) {
		return nil
	}
	return translate(err, "remove desired state of device %q", device)
}
