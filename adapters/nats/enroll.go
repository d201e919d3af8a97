package nats

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	enrollQueueGroup = "fleet-enroll"
	enrollWaiting    = 4096
	defaultEnrollers = 16
	// enrollTimeout bounds one enrollment, with the identity provider's part.
	enrollTimeout = 30 * time.Second
	// maxEnrollRequest is generous: a token, a key and an inventory.
	maxEnrollRequest = 16 << 10
)

// EnrollmentServiceOptions tune an EnrollmentService.
type EnrollmentServiceOptions struct {
	// Workers is how many devices are enrolled at once; zero is 16.
	Workers int
	// Logger is told of requests that get no answer; nil for none.
	Logger *slog.Logger
}

// EnrollmentStats count what an EnrollmentService did since it was made.
type EnrollmentStats struct {
	// Answered requests, refusals among them.
	Answered uint64
	// Refused requests got no answer: their reply subject or their token was not
	// their own.
	Refused uint64
	// Dropped requests were malformed or too many; a device asks again.
	Dropped uint64
}

// EnrollmentService carries the requests of devices without identity to an
// Enroller. Any number of instances share the work.
type EnrollmentService struct {
	conn     *Conn
	enroller domain.Enroller
	workers  int
	log      *slog.Logger

	answered, refused, dropped atomic.Uint64
	told                       atomic.Int64
}

// enrollQuestion is a device that waits for an answer.
type enrollQuestion struct {
	request contracts.EnrollRequest
	reply   string
}

// NewEnrollmentService returns a service over the operator's connection.
func NewEnrollmentService(conn *Conn, enroller domain.Enroller, options EnrollmentServiceOptions) *EnrollmentService {
	return &EnrollmentService{
		conn: conn, enroller: enroller,
		workers: cmp.Or(options.Workers, defaultEnrollers),
		log:     orDiscard(options.Logger),
	}
}

// Stats returns the counts so far.
func (s *EnrollmentService) Stats() EnrollmentStats {
	return EnrollmentStats{Answered: s.answered.Load(), Refused: s.refused.Load(), Dropped: s.dropped.Load()}
}

// Run answers until ctx is cancelled and then returns nil, or the error of the
// subscription. It goes on across lost connections.
func (s *EnrollmentService) Run(ctx context.Context) error {
	waiting := make(chan enrollQuestion, enrollWaiting)
	limit := askLimit{asked: map[string]int{}}
	sub, err := s.conn.nc.QueueSubscribe(contracts.EnrollSubject, enrollQueueGroup, func(msg *nats.Msg) {
		question, err := s.accept(msg, &limit)
		if err != nil {
			s.tell(err)
			return
		}
		select {
		case waiting <- question:
		default:
			s.dropped.Add(1)
		}
	})
	if err != nil {
		return translate(err, "subscribe to enrollment requests")
	}
	var workers sync.WaitGroup
	for range s.workers {
		workers.Go(func() { s.answerAll(ctx, waiting) })
	}
	<-ctx.Done()
	_ = sub.Unsubscribe() // fails when the connection is closed, and then it is ended
	workers.Wait()
	return nil
}

// accept checks a request. The answer goes to the inbox of the token that the
// request holds and nowhere else: the broker never checks a reply subject.
func (s *EnrollmentService) accept(msg *nats.Msg, limit *askLimit) (enrollQuestion, error) {
	if len(msg.Data) > maxEnrollRequest {
		s.dropped.Add(1)
		return enrollQuestion{}, domain.Errorf(domain.ErrInvalid, "the request has %d bytes, at most %d are allowed", len(msg.Data), maxEnrollRequest)
	}
	request, err := contracts.Decode[contracts.EnrollRequest](msg.Data)
	if err != nil {
		s.dropped.Add(1)
		return enrollQuestion{}, err
	}
	inbox := contracts.EnrollmentInboxPrefix(request.Token)
	if !strings.HasPrefix(msg.Reply, inbox+".") {
		s.refused.Add(1)
		return enrollQuestion{}, domain.Errorf(domain.ErrPermissionDenied, "the reply subject of device %q is not in the inbox of its token", request.Device)
	}
	if !limit.allows(inbox, time.Now()) {
		s.dropped.Add(1)
		return enrollQuestion{}, domain.Errorf(domain.ErrUnavailable, "device %q asks too often", request.Device)
	}
	return enrollQuestion{request: request, reply: msg.Reply}, nil
}

func (s *EnrollmentService) answerAll(ctx context.Context, waiting <-chan enrollQuestion) {
	for {
		select {
		case <-ctx.Done():
			return
		case question := <-waiting:
			s.answer(ctx, question)
		}
	}
}

// answer lets one device enroll. A device whose token is not its own is not
// answered.
func (s *EnrollmentService) answer(ctx context.Context, question enrollQuestion) {
	ctx, cancel := context.WithTimeout(ctx, enrollTimeout)
	defer cancel()
	reply, err := s.enroller.Enroll(ctx, question.request)
	if errors.Is(err, domain.ErrUnavailable) {
		s.dropped.Add(1)
		s.tell(err)
		return
	}
	if err != nil {
		s.refused.Add(1)
		s.tell(err)
		return
	}
	data, err := contracts.Encode(reply)
	if err != nil {
		s.dropped.Add(1)
		s.tell(err)
		return
	}
	if s.conn.nc.Publish(question.reply, data) != nil {
		s.dropped.Add(1)
		return
	}
	s.answered.Add(1)
}

// tell logs a request without an answer, one per second at most.
func (s *EnrollmentService) tell(err error) {
	now, last := time.Now().UnixNano(), s.told.Load()
	if now-last >= int64(time.Second) && s.told.CompareAndSwap(last, now) {
		s.log.Warn("enrollment request without answer", slog.String("error", err.Error()))
	}
}

// Enroller is the domain.Enroller of a device over its own connection, whose
// InboxPrefix must be contracts.EnrollmentInboxPrefix of the token.
type Enroller struct{ conn *Conn }

var _ domain.Enroller = (*Enroller)(nil)

// NewEnroller returns the way to the fleet's enrollment service.
func NewEnroller(conn *Conn) *Enroller { return &Enroller{conn: conn} }

// Enroll implements domain.Enroller.
func (e *Enroller) Enroll(ctx context.Context, request contracts.EnrollRequest) (contracts.EnrollReply, error) {
	body, err := contracts.Encode(request)
	if err != nil {
		return contracts.EnrollReply{}, domain.WrapError(domain.ErrInvalid, err, "enrollment request")
	}
	if err := e.conn.requireConnection(); err != nil {
		return contracts.EnrollReply{}, err
	}
	msg, err := e.conn.nc.RequestWithContext(ctx, contracts.EnrollSubject, body)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return contracts.EnrollReply{}, domain.WrapError(domain.ErrUnavailable, err, "nobody enrolls devices at this broker now: its operators have to run `fleet-operator callout`")
	case ctx.Err() != nil:
		return contracts.EnrollReply{}, domain.WrapError(domain.ErrUnavailable, ctx.Err(), "the fleet did not answer: it may be busy, or refuse to answer this token")
	case err != nil:
		return contracts.EnrollReply{}, translate(err, "enrollment request")
	}
	reply, err := contracts.Decode[contracts.EnrollReply](msg.Data)
	return reply, domain.WrapError(domain.ErrInvalid, err, "answer to the enrollment request")
}
