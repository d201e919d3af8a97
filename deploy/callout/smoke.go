package callout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/nats"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	smokeTimeout = 90 * time.Second
	healthPort   = 8082
	// answerTimeout bounds one question to an instance, maxAnswer its answer.
	answerTimeout = 10 * time.Second
	maxAnswer     = 64 << 10
)

// Smoke implements deploy.Score: all instances serve, and when a stranger knocks
// at the broker they are asked, and refuse. That is in the event log afterwards.
func (s *FleetCalloutScore) Smoke(ctx context.Context, topology Cluster, progress deploy.Progress) error {
	err := deploy.Until(ctx, smokeTimeout, progress, func(ctx context.Context) error { return s.ask(ctx, topology, progress) })
	return deploy.WithNext(err, "read what it says: kubectl logs -n %s deployment/%s", s.namespace(), releaseName)
}

func (s *FleetCalloutScore) ask(ctx context.Context, topology Cluster, progress deploy.Progress) error {
	before, err := s.denied(ctx, topology)
	if err != nil {
		return err
	}
	tried, err := s.knock(ctx, topology)
	if err != nil {
		return err
	}
	if !tried {
		progress("the broker cannot be reached from here: no login was tried")
		return nil
	}
	after, err := s.denied(ctx, topology)
	if err != nil {
		return err
	}
	if after <= before {
		return deploy.WithNext(domain.Errorf(domain.ErrUnavailable, "the broker refused a stranger without asking the callout"),
			"see that the broker's configuration names this callout's keys")
	}
	return nil
}

// denied asks all instances whether they serve and how many clients they kept
// out.
func (s *FleetCalloutScore) denied(ctx context.Context, topology Cluster) (uint64, error) {
	pods, err := topology.Pods(ctx, s.namespace(), releaseName)
	if err != nil {
		return 0, err
	}
	if want := s.size().Replicas; len(pods) < want {
		return 0, domain.Errorf(domain.ErrUnavailable, "%d of %d instances are ready", len(pods), want)
	}
	var sum uint64
	for _, pod := range pods {
		err := through(ctx, topology, s.namespace(), pod, healthPort, func(ctx context.Context, address string) error {
			n, err := statusOf(ctx, address)
			sum += n
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("instance %s: %w", pod, err)
		}
	}
	return sum, nil
}

// through lets ask use a forward to the port.
func through(ctx context.Context, topology kube.Forwards, namespace, pod string, port int, ask func(context.Context, string) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	address, closer, err := topology.Forward(ctx, namespace, pod, port)
	if err != nil {
		return err
	}
	return errors.Join(ask(ctx, address), closer.Close())
}

// statusOf requires that an instance is ready and returns how many clients it
// kept out.
func statusOf(ctx context.Context, address string) (uint64, error) {
	word, code, err := get(ctx, address, "/readyz")
	if err != nil {
		return 0, err
	}
	if code != http.StatusOK {
		return 0, domain.Errorf(domain.ErrUnavailable, "it is not ready: %.40q", word)
	}
	body, _, err := get(ctx, address, "/status")
	if err != nil {
		return 0, err
	}
	return parseStatus(body)
}

// parseStatus adds up the reasons in what /status says.
func parseStatus(body []byte) (uint64, error) {
	var status struct {
		Callout struct{ Denied map[string]uint64 } `json:"callout"`
	}
	if err := json.Unmarshal(body, &status); err != nil {
		return 0, domain.WrapError(domain.ErrUnavailable, err, "what answers is no callout")
	}
	var sum uint64
	for _, n := range status.Callout.Denied {
		sum += n
	}
	return sum, nil
}

func get(ctx context.Context, address, path string) ([]byte, int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, 0, err
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, 0, domain.WrapError(domain.ErrUnavailable, err, "ask for its state")
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return body, response.StatusCode, domain.WrapError(domain.ErrUnavailable, err, "read its state")
}

// knock has the broker refuse a stranger: through its service in the cluster, or
// from here where that is elsewhere. It returns false when it cannot be reached.
func (s *FleetCalloutScore) knock(ctx context.Context, topology Cluster) (bool, error) {
	server, err := url.Parse(s.Servers[0])
	if err != nil {
		return false, err // it was checked before
	}
	refuses := func(ctx context.Context, address string) error {
		return nats.RefusesStrangers(ctx, address, server.Hostname(), s.CA)
	}
	pods, err := topology.Pods(ctx, s.namespace(), s.brokerService())
	switch {
	case errors.Is(err, domain.ErrNotFound):
	case err != nil:
		return false, err
	case len(pods) == 0:
		return false, domain.Errorf(domain.ErrUnavailable, "no server of the broker is ready")
	default:
		return true, through(ctx, topology, s.namespace(), pods[0], brokerPort, refuses)
	}
	address := server.Host
	if server.Port() == "" {
		address = net.JoinHostPort(server.Hostname(), strconv.Itoa(usualPort(server.Scheme)))
	}
	dialer := net.Dialer{Timeout: answerTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false, ctx.Err()
	}
	return true, errors.Join(conn.Close(), refuses(ctx, address))
}
