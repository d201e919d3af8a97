package memory

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// CommandBus implements domain.CommandBus.
type CommandBus struct{ fleet *Fleet }

var _ domain.CommandBus = (*CommandBus)(nil)

// Commands returns the bus that carries commands to devices.
func (f *Fleet) Commands() *CommandBus { return &CommandBus{fleet: f} }

// commandServer is one call of Serve.
type commandServer struct {
	requests chan commandRequest
	// ended is closed when it takes no more requests.
	ended chan struct{}
}

type commandRequest struct {
	verb contracts.Verb
	body []byte
	// reply has room for the one reply.
	reply chan []byte
}

// Call implements domain.CommandBus.
func (b *CommandBus) Call(ctx context.Context, device contracts.DeviceID, verb contracts.Verb, body []byte) ([]byte, error) {
	if err := b.fleet.reach(ctx); err != nil {
		return nil, err
	}
	target := b.fleet.Device(device)
	bell := make(chan struct{}, 1)
	defer target.listen(bell)()
	session, server := target.server()
	if server == nil {
		return nil, domain.Errorf(domain.ErrOffline, "device %q is offline: it was not sent the command %s", device, verb)
	}
	request := commandRequest{verb: verb, body: bytes.Clone(body), reply: make(chan []byte, 1)}
	requests := server.requests
	ended := server.ended
	for {
		select {
		case requests <- request:
			requests, ended = nil, nil
		case <-ended:
			return nil, domain.Errorf(domain.ErrUnavailable, "device %q stopped taking commands before %s", device, verb)
		case reply := <-request.reply:
			return reply, nil
		case <-ctx.Done():
			return nil, domain.WrapError(domain.ErrUnavailable, ctx.Err(), "device %q did not reply to %s in time", device, verb)
		case <-bell:
			if connected, now := target.session(); !connected || now != session {
				return nil, domain.Errorf(domain.ErrUnavailable, "device %q lost its connection before it replied to %s", device, verb)
			}
		}
	}
}

// server returns the device's connection and who serves its commands, nil when
// there is nobody. The one that began last is chosen.
func (d *Device) server() (session uint64, server *commandServer) {
	d.fleet.mu.Lock()
	defer d.fleet.mu.Unlock()
	if !d.connected() || len(d.servers) == 0 {
		return d.sessions, nil
	}
	return d.sessions, d.servers[len(d.servers)-1]
}

// Serve implements domain.CommandServer. The context of handle ends with ctx.
func (d *Device) Serve(ctx context.Context, handle domain.CommandHandler) error {
	server := &commandServer{requests: make(chan commandRequest), ended: make(chan struct{})}
	d.fleet.mu.Lock()
	d.servers = append(d.servers, server)
	d.fleet.mu.Unlock()

	var underWay sync.WaitGroup
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case request := <-server.requests:
			underWay.Go(func() {
				request.reply <- bytes.Clone(handle(ctx, request.verb, request.body))
			})
		}
	}

	d.fleet.mu.Lock()
	d.servers = slices.DeleteFunc(d.servers, func(s *commandServer) bool { return s == server })
	d.fleet.mu.Unlock()
	close(server.ended)
	underWay.Wait()
	return nil
}
