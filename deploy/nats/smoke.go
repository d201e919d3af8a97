package nats

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	smokeTimeout = 90 * time.Second
	clientPort   = 4222
	monitorPort  = 8222
	// answerTimeout bounds one question to a server, maxAnswer its answer.
	answerTimeout = 10 * time.Second
	maxAnswer     = 64 << 10
)

// Smoke implements deploy.Score: all servers are ready and healthy, JetStream
// among it, ask for a credential, and have the certificate that clients expect.
func (s *FleetNatsScore) Smoke(ctx context.Context, topology Cluster, progress deploy.Progress) error {
	err := deploy.Until(ctx, smokeTimeout, progress, func(ctx context.Context) error { return s.ask(ctx, topology) })
	return deploy.WithNext(err, "read what the broker says: kubectl logs -n %s statefulset/%s -c nats", s.namespace(), s.release())
}

func (s *FleetNatsScore) ask(ctx context.Context, topology Cluster) error {
	pods, err := topology.Pods(ctx, s.namespace(), s.release())
	if err != nil {
		return err
	}
	if len(pods) < s.replicas() {
		return domain.Errorf(domain.ErrUnavailable, "%d of %d servers are ready", len(pods), s.replicas())
	}
	for _, pod := range pods {
		if err := through(ctx, topology, s.namespace(), pod, monitorPort, s.healthy); err != nil {
			return fmt.Errorf("server %s: %w", pod, err)
		}
		if err := through(ctx, topology, s.namespace(), pod, clientPort, s.greets); err != nil {
			return fmt.Errorf("server %s: %w", pod, err)
		}
	}
	return nil
}

// through lets ask use a forward to the port.
func through(ctx context.Context, topology Cluster, namespace, pod string, port int, ask func(context.Context, string) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	address, closer, err := topology.Forward(ctx, namespace, pod, port)
	if err != nil {
		return err
	}
	return errors.Join(ask(ctx, address), closer.Close())
}

// healthy asks the server itself, which also looks after its streams.
func (s *FleetNatsScore) healthy(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "ask for its health")
	}
	defer response.Body.Close()
	var health struct {
		Status string `json:"status"`
		Error  string `json:"error"`
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err == nil {
		err = json.Unmarshal(body, &health)
	}
	if err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "read its health (%s)", response.Status)
	}
	if health.Status != "ok" {
		return domain.Errorf(domain.ErrUnavailable, "it is %s: %s", health.Status, health.Error)
	}
	return nil
}

// greeting is what a server says first to every client.
type greeting struct {
	Version      string `json:"version"`
	JetStream    bool   `json:"jetstream"`
	AuthRequired bool   `json:"auth_required"`
	TLSRequired  bool   `json:"tls_required"`
	MaxPayload   int    `json:"max_payload"`
}

func (s *FleetNatsScore) greets(ctx context.Context, address string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return domain.WrapError(domain.ErrUnavailable, err, "connect")
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	line, err := readGreeting(conn)
	if err != nil {
		return err
	}
	said, err := parseGreeting(line)
	if err != nil {
		return err
	}
	next := "see what else changes the release: the score sets it otherwise"
	switch {
	case !said.JetStream:
		return deploy.WithNext(domain.Errorf(domain.ErrConflict, "JetStream is off"), "%s", next)
	case !said.AuthRequired:
		return deploy.WithNext(domain.Errorf(domain.ErrConflict, "it asks nobody for a credential"), "%s", next)
	case said.TLSRequired != (s.TLS != nil):
		return deploy.WithNext(domain.Errorf(domain.ErrConflict, "TLS required: %t", said.TLSRequired), "%s", next)
	case s.TLS != nil:
		_, err := handshake(ctx, conn, s.TLS.Host, s.TLS.CA)
		return err
	}
	return nil
}

func parseGreeting(line []byte) (greeting, error) {
	var said greeting
	data, ok := bytes.CutPrefix(line, []byte("INFO "))
	if !ok {
		return said, domain.Errorf(domain.ErrUnavailable, "what answers is no broker")
	}
	if err := json.Unmarshal(data, &said); err != nil {
		return said, domain.WrapError(domain.ErrUnavailable, err, "what answers is no broker")
	}
	return said, nil
}
