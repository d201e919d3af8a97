package nats

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	tokenQueueGroup = "fleet-enroll-token"
	// tokenRequestTimeout bounds the wait for one token.
	tokenRequestTimeout = 10 * time.Second
)

// TokenService makes enrollment tokens for those who may ask for them: it runs
// where the fleet's signing key is. Any number of instances share the work.
type TokenService struct {
	conn   *Conn
	issuer domain.EnrollmentTokenIssuer
}

// NewTokenService returns a service over the operator's connection.
func NewTokenService(conn *Conn, issuer domain.EnrollmentTokenIssuer) *TokenService {
	return &TokenService{conn: conn, issuer: issuer}
}

// Run answers until ctx is cancelled and then returns nil, or the error of the
// subscription. It goes on across lost connections.
func (s *TokenService) Run(ctx context.Context) error {
	sub, err := s.conn.nc.QueueSubscribe(contracts.EnrollTokenSubject, tokenQueueGroup, func(msg *nats.Msg) {
		if msg.Reply != "" {
			_ = s.conn.nc.Publish(msg.Reply, domain.Answer(s.issue(ctx, msg.Data))) // who asked has a time limit
		}
	})
	if err != nil {
		return translate(err, "subscribe to requests for enrollment tokens")
	}
	<-ctx.Done()
	_ = sub.Unsubscribe() // fails when the connection is closed, and then it is ended
	return nil
}

func (s *TokenService) issue(ctx context.Context, body []byte) (contracts.Document, error) {
	request, err := contracts.Decode[contracts.EnrollTokenRequest](body)
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "the request is not understood")
	}
	token, err := s.issuer.IssueToken(ctx, request.Device, request.ExpiresAt)
	if err != nil {
		return nil, err
	}
	return contracts.EnrollTokenResult{Token: token}, nil
}

// TokenIssuer is the domain.EnrollmentTokenIssuer of whoever holds the fleet's
// signing key and answers at the broker.
type TokenIssuer struct{ conn *Conn }

var _ domain.EnrollmentTokenIssuer = (*TokenIssuer)(nil)

// NewTokenIssuer returns an issuer over a connection with the operator's rights.
func NewTokenIssuer(conn *Conn) *TokenIssuer { return &TokenIssuer{conn: conn} }

// IssueToken implements domain.EnrollmentTokenIssuer.
func (i *TokenIssuer) IssueToken(ctx context.Context, device contracts.DeviceID, expires time.Time) (string, error) {
	body, err := contracts.Encode(contracts.EnrollTokenRequest{Device: device, ExpiresAt: expires})
	if err != nil {
		return "", domain.WrapError(domain.ErrInvalid, err, "token for device %q", device)
	}
	if err := i.conn.refuseViewer("invite devices"); err != nil {
		return "", err
	}
	if err := i.conn.requireConnection(); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, tokenRequestTimeout)
	defer cancel()
	msg, err := i.conn.nc.RequestWithContext(ctx, contracts.EnrollTokenSubject, body)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return "", domain.WrapError(domain.ErrUnavailable, err, "nobody signs enrollment tokens: `fleet-operator run` does, where the fleet's signing key is")
	case ctx.Err() != nil:
		return "", domain.WrapError(domain.ErrUnavailable, ctx.Err(), "the holder of the fleet's signing key did not answer")
	case err != nil:
		return "", translate(err, "token for device %q", device)
	}
	reply, err := contracts.Decode[contracts.CommandReply](msg.Data)
	if err != nil {
		return "", domain.WrapError(domain.ErrInvalid, err, "answer to the request for a token")
	}
	if reply.Error != nil {
		return "", domain.ErrorOfKind(reply.Error.Kind, reply.Error.Message)
	}
	result, err := contracts.Decode[contracts.EnrollTokenResult](reply.Result)
	return result.Token, domain.WrapError(domain.ErrInvalid, err, "answer to the request for a token")
}
