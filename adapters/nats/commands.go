package nats

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// CommandBus is the domain.CommandBus over requests and replies.
type CommandBus struct {
	conn *Conn
}

var _ domain.CommandBus = (*CommandBus)(nil)

// NewCommandBus returns a bus over the operator's or a tool's connection.
func NewCommandBus(conn *Conn) *CommandBus { return &CommandBus{conn: conn} }

// Call implements domain.CommandBus.
func (b *CommandBus) Call(ctx context.Context, device contracts.DeviceID, verb contracts.Verb, request []byte) ([]byte, error) {
	if err := checkDevice(device); err != nil {
		return nil, err
	}
	if err := verb.Validate(); err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "command to device %q", device)
	}
	if err := b.conn.refuseViewer("give commands to devices, logs among them"); err != nil {
		return nil, err
	}
	if err := b.conn.requireConnection(); err != nil {
		return nil, err
	}
	// A device that dies never answers; the broker lets no answer through later.
	ctx, cancel := context.WithTimeout(ctx, commandResponseTime)
	defer cancel()
	reply, err := b.conn.nc.RequestWithContext(ctx, contracts.CommandSubject(device, verb), request)
	switch {
	case err == nil:
		return reply.Data, nil
	case errors.Is(err, nats.ErrNoResponders):
		return nil, domain.WrapError(domain.ErrOffline, err, "device %q is offline", device)
	case ctx.Err() != nil:
		return nil, domain.WrapError(domain.ErrUnavailable, ctx.Err(), "device %q did not answer %s in time: its agent or its connection may be down, or it is busy", device, verb)
	default:
		return nil, translate(err, "command %s to device %q", verb, device)
	}
}

// commandWorkers is how many commands run at once on one device.
const commandWorkers = 16

// CommandServer is the domain.CommandServer of one device. Beyond 16 commands
// under way, it refuses more as ErrUnavailable.
type CommandServer struct {
	conn   *Conn
	device contracts.DeviceID
}

var _ domain.CommandServer = (*CommandServer)(nil)

// NewCommandServer returns the command server of a device over its connection.
func NewCommandServer(conn *Conn, device contracts.DeviceID) *CommandServer {
	return &CommandServer{conn: conn, device: device}
}

// Serve implements domain.CommandServer. Handlers get ctx. It goes on across
// lost connections. Commands that arrive while it ends are answered as
// ErrUnavailable; when it has returned, the broker sends no more.
func (s *CommandServer) Serve(ctx context.Context, handle domain.CommandHandler) error {
	slots := make(chan struct{}, commandWorkers)
	var running sync.WaitGroup
	sub, err := s.conn.nc.Subscribe(contracts.CommandsSubject(s.device), func(msg *nats.Msg) {
		_, verb, err := contracts.ParseCommandSubject(msg.Subject)
		if err != nil {
			s.refuse(msg, domain.WrapError(domain.ErrUnsupported, err, "device %q", s.device))
			return
		}
		if ctx.Err() != nil {
			s.refuse(msg, domain.Errorf(domain.ErrUnavailable, "device %q stops taking commands", s.device))
			return
		}
		select {
		case slots <- struct{}{}:
			running.Go(func() {
				defer func() { <-slots }()
				s.reply(msg, handle(ctx, verb, msg.Data))
			})
		default:
			s.refuse(msg, domain.Errorf(domain.ErrUnavailable,
				"device %q is busy with %d commands: try again later", s.device, commandWorkers))
		}
	})
	if err != nil {
		return translate(err, "subscribe to the commands of device %q", s.device)
	}
	ended := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(ended) })
	<-ctx.Done()
	if !s.conn.isConnected() || sub.Drain() != nil {
		_ = sub.Unsubscribe() // fails when it is ended already
	}
	<-ended // no worker is started any more
	running.Wait()
	return nil
}

func (s *CommandServer) refuse(msg *nats.Msg, err error) { s.reply(msg, domain.Answer(nil, err)) }

// reply sends an answer. Nobody can be told when that fails: the caller finds
// out by its own time limit.
func (s *CommandServer) reply(msg *nats.Msg, answer []byte) {
	if msg.Reply != "" {
		_ = s.conn.nc.Publish(msg.Reply, answer)
	}
}
