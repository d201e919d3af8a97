package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// viewTimeout bounds the wait for one message of a stream.
	viewTimeout = 10 * time.Second
	// viewProbe bounds the wait for who this is: a client that may not even ask
	// gets no answer.
	viewProbe = 2 * time.Second
)

// DetectViewer asks the broker whether this connection is a viewer's, and makes
// it read as viewers must from then on: message by message. It has to be called
// before anything else uses the connection. ErrUnavailable when the connection is
// lost meanwhile.
func (c *Conn) DetectViewer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, viewProbe)
	defer cancel()
	_, err := c.viewed(ctx, bucketStream(contracts.BucketDevices), messageRequest{Sequence: 1})
	switch {
	case err == nil, errors.Is(err, jetstream.ErrMsgNotFound), isMissingStream(err):
		c.viewing = true
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
		// In the fleet's own account nobody answers there.
	default:
		return translate(err, "ask the broker who this is")
	}
	return nil
}

// Viewing reports whether this connection may only read.
func (c *Conn) Viewing() bool { return c.viewing }

// refuseViewer returns ErrPermissionDenied for a viewer's connection: the broker
// would not answer, and would not say why.
func (c *Conn) refuseViewer(doing string) error {
	if !c.viewing {
		return nil
	}
	return domain.Errorf(domain.ErrPermissionDenied, "this credential is a viewer's, which reads the fleet and cannot %s: use an operator's", doing)
}

// messageRequest asks for one message of a stream.
type messageRequest struct {
	Sequence uint64     `json:"seq,omitempty"`
	Last     string     `json:"last_by_subj,omitempty"`
	Next     string     `json:"next_by_subj,omitempty"`
	Since    *time.Time `json:"start_time,omitempty"`
}

// viewed gets one message as a viewer: jetstream.ErrMsgNotFound when there is
// none. The time of the message is the broker's.
func (c *Conn) viewed(ctx context.Context, stream string, request messageRequest) (stored, error) {
	if !slices.Contains(viewedStreams(), stream) {
		return stored{}, c.refuseViewer("see this (stream " + stream + ")")
	}
	body, err := json.Marshal(request)
	if err != nil {
		return stored{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	answer, err := c.nc.RequestWithContext(ctx, viewedGet(stream), body)
	if err != nil {
		return stored{}, err
	}
	var found struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &found); err != nil {
		return stored{}, fmt.Errorf("the broker's answer about stream %s: %w", stream, err)
	}
	switch {
	case found.Error != nil && found.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return stored{}, jetstream.ErrMsgNotFound
	case found.Error != nil:
		return stored{}, found.Error
	}
	message := stored{subject: found.Message.Subject, data: found.Message.Data, sequence: found.Message.Sequence, at: found.Message.Time}
	if len(found.Message.Header) > 0 {
		if message.header, err = nats.DecodeHeadersMsg(found.Message.Header); err != nil {
			return stored{}, fmt.Errorf("the header of message %d in stream %s: %w", message.sequence, stream, err)
		}
	}
	return message, nil
}

// viewedKey is bucket.get for viewers.
func (c *Conn) viewedKey(ctx context.Context, bucket, key string) ([]byte, domain.Revision, error) {
	message, err := c.viewed(ctx, bucketStream(bucket), messageRequest{Last: keySubject(bucket, key)})
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound), err == nil && isDeletion(message.header):
		return nil, 0, jetstream.ErrKeyNotFound
	case isMissingStream(err):
		return nil, 0, missingBucket(bucket, err)
	case err != nil:
		return nil, 0, err
	}
	return message.data, domain.Revision(message.sequence), nil
}
