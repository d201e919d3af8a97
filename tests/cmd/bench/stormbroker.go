package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/devserver"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// stormBroker is a broker that can be restarted, with an auth callout or
// without, and with a registered fleet.
type stormBroker struct {
	dir      string
	config   *nats.ServerConfig // with a callout
	plain    devserver.Options  // without
	server   *devserver.Server
	stop     context.CancelFunc
	ended    chan error
	conns    []*nats.Conn
	registry domain.DeviceRegistry
	tokens   *signedTokens

	callout     *nats.Callout
	stopCallout context.CancelFunc
	calloutDone chan error
}

func newStormBroker(ctx context.Context, dir string, callout bool) (*stormBroker, error) {
	s := &stormBroker{dir: dir}
	var err error
	if s.tokens, err = newSignedTokens(); err != nil {
		return nil, err
	}
	if callout {
		err = s.configureCallout()
	} else {
		err = s.configurePlain()
	}
	if err == nil {
		err = s.startBroker(ctx)
	}
	if err == nil && callout {
		err = s.startCallout(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stormBroker) seed(name string) string { return filepath.Join(s.dir, "keys", name+".nk") }

func (s *stormBroker) configurePlain() error {
	s.plain = devserver.Options{StoreDir: filepath.Join(s.dir, "store"), Devices: map[contracts.DeviceID]string{}}
	for i := range stormDevices {
		public, err := nats.EnsureKey(s.seed(string(stormDevice(i))), nats.UserKey)
		if err != nil {
			return err
		}
		s.plain.Devices[stormDevice(i)] = public
	}
	return nil
}

func (s *stormBroker) configureCallout() error {
	s.config = &nats.ServerConfig{Name: "bench", Port: -1, StoreDir: filepath.Join(s.dir, "store"), Operators: make([]string, 1)}
	for name, key := range map[string]struct {
		kind nats.KeyKind
		to   *string
	}{
		"issuer":   {nats.IssuerKey, &s.config.Issuer},
		"exchange": {nats.ExchangeKey, &s.config.Exchange},
		"callout":  {nats.UserKey, &s.config.CalloutUser},
		"system":   {nats.UserKey, &s.config.SystemUser},
		"operator": {nats.UserKey, &s.config.Operators[0]},
	} {
		public, err := nats.EnsureKey(s.seed(name), key.kind)
		if err != nil {
			return err
		}
		*key.to = public
	}
	return nil
}

func (s *stormBroker) startBroker(ctx context.Context) (err error) {
	if s.config != nil {
		s.server, err = devserver.NewWithCallout(*s.config)
	} else {
		s.server, err = devserver.New(s.plain)
	}
	if err != nil {
		return err
	}
	address, err := url.Parse(s.server.URL())
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		return err
	}
	s.plain.Port = port
	if s.config != nil {
		s.config.Port = port
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop, s.ended = stop, make(chan error, 1)
	server, ended := s.server, s.ended
	go func() { ended <- server.Run(ctx) }()
	return nil
}

func (s *stormBroker) stopBroker() error {
	if s.stop == nil {
		return nil
	}
	s.stop()
	s.stop = nil
	return <-s.ended
}

// startCallout registers the fleet and admits it.
func (s *stormBroker) startCallout(ctx context.Context) error {
	var conns [3]*nats.Conn
	for i, name := range []string{"operator", "callout", "system"} {
		conn, err := nats.Connect(ctx, nats.Config{
			Servers: []string{s.server.URL()}, Name: name, Credential: nats.SeedFile(s.seed(name)),
			ReconnectWait: 20 * time.Millisecond, ReconnectJitter: 20 * time.Millisecond,
		})
		if err != nil {
			return err
		}
		s.conns, conns[i] = append(s.conns, conn), conn
		if err := conn.AwaitConnection(ctx); err != nil {
			return err
		}
	}
	if err := nats.Setup(ctx, conns[0], nats.SetupOptions{}); err != nil {
		return err
	}
	s.registry = nats.NewDeviceRegistry(conns[0])
	for i := range stormDevices {
		if _, err := s.registry.Create(ctx, domain.FleetDevice{ID: stormDevice(i), RegisteredAt: time.Now()}); err != nil {
			return err
		}
	}
	keys, err := nats.LoadCalloutKeys(s.seed("issuer"), s.seed("exchange"))
	if err != nil {
		return err
	}
	s.callout = nats.NewCallout(nats.CalloutConns{Auth: conns[1], System: conns[2]}, keys, s.tokens, s.registry, nats.NewEventLog(conns[0]), nats.CalloutOptions{})
	calloutCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopCallout, s.calloutDone = stop, make(chan error, 1)
	go func() { s.calloutDone <- s.callout.Run(calloutCtx) }()
	select {
	case <-s.callout.Serving():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connect connects a device, as its agent does.
func (s *stormBroker) connect(ctx context.Context, i int, failFast bool) (*nats.Conn, error) {
	device := stormDevice(i)
	credential := nats.SeedFile(s.seed(string(device)))
	if s.config != nil {
		credential = nats.TokenCredential(&tokenCache{tokens: s.tokens, device: device})
	}
	return nats.Connect(ctx, nats.Config{
		Servers: []string{s.server.URL()}, Name: string(device), Credential: credential,
		InboxPrefix: contracts.InboxPrefix(device), ReconnectJitter: stormJitter, FailFast: failFast,
	})
}

func (s *stormBroker) close() error {
	var err error
	if s.stopCallout != nil {
		s.stopCallout()
		err = <-s.calloutDone
	}
	for _, conn := range s.conns {
		conn.Close()
	}
	return errors.Join(err, s.stopBroker())
}

// signedTokens issues tokens and verifies them with the public key, as a fleet
// does those of its identity provider: ES256.
type signedTokens struct {
	key    *ecdsa.PrivateKey
	issued atomic.Int64
}

func newSignedTokens() (*signedTokens, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &signedTokens{key: key}, err
}

func (s *signedTokens) issue(device contracts.DeviceID) (domain.Token, error) {
	s.issued.Add(1)
	expires := time.Now().Add(12 * time.Hour)
	body, err := json.Marshal(domain.Principal{Subject: string(device), Device: device, Roles: []domain.Role{domain.RoleDevice}, ExpiresAt: expires})
	if err != nil {
		return domain.Token{}, err
	}
	digest := sha256.Sum256(body)
	signature, err := ecdsa.SignASN1(rand.Reader, s.key, digest[:])
	if err != nil {
		return domain.Token{}, err
	}
	encode := base64.RawURLEncoding.EncodeToString
	return domain.Token{Value: encode(body) + "." + encode(signature), ExpiresAt: expires}, nil
}

// Verify implements domain.TokenVerifier.
func (s *signedTokens) Verify(_ context.Context, token string) (domain.Principal, error) {
	first, second, _ := strings.Cut(token, ".")
	body, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return domain.Principal{}, domain.WrapError(domain.ErrUnauthenticated, err, "token")
	}
	signature, err := base64.RawURLEncoding.DecodeString(second)
	if err != nil {
		return domain.Principal{}, domain.WrapError(domain.ErrUnauthenticated, err, "token")
	}
	digest := sha256.Sum256(body)
	if !ecdsa.VerifyASN1(&s.key.PublicKey, digest[:], signature) {
		return domain.Principal{}, domain.Errorf(domain.ErrUnauthenticated, "the token is forged")
	}
	var principal domain.Principal
	err = json.Unmarshal(body, &principal)
	return principal, domain.WrapError(domain.ErrUnauthenticated, err, "token")
}

// tokenCache keeps one device's token, as an agent does on its disk.
type tokenCache struct {
	tokens *signedTokens
	device contracts.DeviceID
	token  domain.Token
}

// Token implements nats.TokenSource.
func (c *tokenCache) Token(context.Context) (domain.Token, error) {
	if time.Until(c.token.ExpiresAt) > time.Hour {
		return c.token, nil
	}
	token, err := c.tokens.issue(c.device)
	if err == nil {
		c.token = token
	}
	return c.token, err
}
