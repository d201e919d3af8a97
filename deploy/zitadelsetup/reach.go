package zitadelsetup

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"

	adapter "github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/deploy/zitadel"
	"github.com/nationtech/harmony-fleet/domain"
)

// errNoZitadel is that Zitadel, or the token of its administrator, is not in the
// cluster: it may be brought up before this is applied.
var errNoZitadel = domain.Errorf(domain.ErrNotFound, "there is no Zitadel yet")

// administer opens Zitadel as its administrator.
func (s *FleetZitadelSetupScore) administer(ctx context.Context, topology Cluster, use func(*adapter.FleetSetup) error) error {
	token, err := s.adminToken(ctx, topology)
	if err != nil {
		return err
	}
	return s.reach(ctx, topology, func(through string) error {
		setup, err := adapter.OpenSetup(ctx, adapter.Admin{AccessToken: token}, adapter.SetupConfig{
			Issuer: s.Issuer, OrganizationID: s.OrganizationID, Project: s.project(), DevicePrefix: s.prefix(),
		}, adapter.SetupOptions{Through: through, CallTimeout: callTimeout, Client: s.web()})
		if err != nil {
			return err
		}
		return s.advised(closing(use(setup), setup.Close()))
	})
}

// web keeps no connection: each look is over soon.
func (s *FleetZitadelSetupScore) web() *http.Client {
	return &http.Client{Timeout: callTimeout, Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
}

// adminToken returns the administrator's token.
func (s *FleetZitadelSetupScore) adminToken(ctx context.Context, topology Cluster) (string, error) {
	token := s.AdminToken
	if len(token) == 0 {
		data, err := kube.ReadSecret(ctx, topology, s.namespace(), s.adminSecret())
		if errors.Is(err, domain.ErrNotFound) {
			return "", deploy.WithNext(domain.WrapError(domain.ErrNotFound, errNoZitadel, "no Secret %s/%s with the administrator's token", s.namespace(), s.adminSecret()),
				"bring Zitadel up first, whose chart makes the Secret with the first instance; or give the token of an owner of the organization")
		}
		if errors.Is(err, domain.ErrPermissionDenied) {
			err = deploy.WithNext(err, "have an administrator allow get of secrets in namespace %s", s.namespace())
		}
		if err != nil {
			return "", err
		}
		token = data[zitadel.AdminTokenKey]
	}
	if token = bytes.TrimSpace(token); len(token) == 0 {
		return "", domain.Errorf(domain.ErrInvalid, "the administrator's token in Secret %s/%s is empty: it belongs under the key %s", s.namespace(), s.adminSecret(), zitadel.AdminTokenKey)
	}
	return string(token), nil
}

// reach lets use have a way to Zitadel: the address of a server of it, or nothing
// where it is reached by its own name.
func (s *FleetZitadelSetupScore) reach(ctx context.Context, topology Cluster, use func(through string) error) error {
	if s.External {
		return use("")
	}
	pods, err := topology.Pods(ctx, s.namespace(), s.service())
	if errors.Is(err, domain.ErrNotFound) {
		return deploy.WithNext(domain.WrapError(domain.ErrNotFound, errNoZitadel, "no service %s/%s", s.namespace(), s.service()),
			"bring Zitadel up first, or name its service; one that is elsewhere is reached by its URL with external")
	}
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return domain.Errorf(domain.ErrUnavailable, "no server of service %s/%s is ready", s.namespace(), s.service())
	}
	address, closer, err := topology.Forward(ctx, s.namespace(), pods[0], zitadel.APIPort)
	if err != nil {
		return err
	}
	return closing(use(address), closer.Close())
}

// advised adds what to do where it is the administrator who is refused.
func (s *FleetZitadelSetupScore) advised(err error) error {
	switch {
	case errors.Is(err, domain.ErrUnauthenticated):
		return deploy.WithNext(err, "the token of the administrator is not accepted by %s: it may have expired, or be of another Zitadel: give a new one", s.Issuer)
	case errors.Is(err, domain.ErrPermissionDenied):
		return deploy.WithNext(err, "give the token of an owner of the organization")
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, domain.ErrUnavailable) {
		return deploy.WithNext(err, "see that Zitadel runs and answers as %s", s.Issuer)
	}
	return err
}

// closing is the first of both errors that there is.
func closing(err, closed error) error {
	if err != nil {
		return err
	}
	return closed
}
