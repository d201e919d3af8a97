package nats

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

const (
	calloutAudience = "nats-authorization-request"
	calloutXKey     = "Nats-Server-Xkey"
	// maxCalloutRequest is generous: a request holds a token and certificates.
	maxCalloutRequest = 256 << 10
)

// calloutRequest is what the broker asks about one client.
type calloutRequest struct {
	// user is the key that the broker made for the client.
	user   string
	server string
	// serverKey encrypts the answer; empty for none.
	serverKey string
	token     string
	// host and kind are the client's.
	host, kind string
	// deadline is when the broker gives the client up.
	deadline time.Time
}

// calloutCodec reads requests and makes answers.
type calloutCodec CalloutKeys

// decode reads a request. With an exchange key it must be encrypted.
func (c calloutCodec) decode(header nats.Header, data []byte) (calloutRequest, error) {
	if len(data) > maxCalloutRequest {
		return calloutRequest{}, fmt.Errorf("it has %d bytes, at most %d are allowed", len(data), maxCalloutRequest)
	}
	serverKey := header.Get(calloutXKey)
	if c.exchange != nil {
		if !nkeys.IsValidPublicCurveKey(serverKey) {
			return calloutRequest{}, errors.New("it is not encrypted")
		}
		opened, err := c.exchange.Open(data, serverKey)
		if err != nil {
			return calloutRequest{}, fmt.Errorf("it cannot be decrypted: %w", err)
		}
		data = opened
	} else if serverKey != "" {
		return calloutRequest{}, errors.New("it is encrypted, and no exchange key is configured")
	}
	// This also verifies that the server which it names as its issuer signed it.
	claims, err := jwt.DecodeAuthorizationRequestClaims(string(data))
	if err != nil {
		return calloutRequest{}, fmt.Errorf("it does not decode: %w", err)
	}
	if err := checkClaims(claims, serverKey); err != nil {
		return calloutRequest{}, err
	}
	return calloutRequest{
		user:      claims.UserNkey,
		server:    claims.Server.ID,
		serverKey: serverKey,
		token:     claims.ConnectOptions.Token,
		host:      claims.ClientInformation.Host,
		kind:      claims.ClientInformation.Kind,
		deadline:  time.Unix(claims.Expires, 0),
	}, nil
}

func checkClaims(claims *jwt.AuthorizationRequestClaims, serverKey string) error {
	switch {
	case claims.Audience != calloutAudience:
		return errors.New("it is not meant for an auth callout")
	case claims.Issuer != claims.Server.ID:
		return errors.New("another server signed it")
	case claims.Server.XKey != serverKey:
		return errors.New("it was encrypted with another key than its server's")
	case !nkeys.IsValidPublicUserKey(claims.UserNkey):
		return errors.New("it names no user")
	default:
		return nil
	}
}

// admit makes the answer that lets the client in.
func (c calloutCodec) admit(request calloutRequest, user admission) ([]byte, error) {
	claims := jwt.NewUserClaims(request.user)
	claims.Name = user.name
	claims.Audience = user.account
	claims.Expires = user.expires.Unix()
	// Neither a leaf node nor MQTT: both carry more than one client's rights.
	claims.AllowedConnectionTypes.Add(jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket)
	p := user.permissions
	claims.Pub = allowOnly(p.PublishAllow, p.PublishDeny)
	claims.Sub = allowOnly(p.SubscribeAllow, nil)
	if p.Responses > 0 {
		claims.Resp = &jwt.ResponsePermission{MaxMsgs: p.Responses, Expires: p.ResponseTime}
	}
	encoded, err := claims.Encode(c.issuer)
	if err != nil {
		return nil, err
	}
	return c.respond(request, func(response *jwt.AuthorizationResponseClaims) { response.Jwt = encoded })
}

// allowOnly gives a list its form in a JWT, in which an empty one allows
// everything.
func allowOnly(allow, deny []string) jwt.Permission {
	if len(allow) == 0 {
		return jwt.Permission{Deny: jwt.StringList{">"}}
	}
	return jwt.Permission{Allow: allow, Deny: deny}
}

// refuse makes the answer that keeps the client out. The broker logs why, and
// does not tell the client.
func (c calloutCodec) refuse(request calloutRequest, why string) ([]byte, error) {
	return c.respond(request, func(response *jwt.AuthorizationResponseClaims) { response.Error = why })
}

func (c calloutCodec) respond(request calloutRequest, fill func(*jwt.AuthorizationResponseClaims)) ([]byte, error) {
	response := jwt.NewAuthorizationResponseClaims(request.user)
	response.Audience = request.server
	fill(response)
	encoded, err := response.Encode(c.issuer)
	if err != nil || c.exchange == nil {
		return []byte(encoded), err
	}
	return c.exchange.Seal([]byte(encoded), request.serverKey)
}
