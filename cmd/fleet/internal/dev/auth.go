package dev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/devserver"
	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/local"
)

const (
	// startTimeout bounds how long one of the programs may need to be of use.
	startTimeout = time.Minute
	pollInterval = 100 * time.Millisecond
)

// serverWithCallout is a broker that asks fleet-operator whom to admit.
func (f *fleet) serverWithCallout() (*devserver.Server, error) {
	config, err := f.brokerConfig()
	if err != nil {
		return nil, err
	}
	return devserver.NewWithCallout(config)
}

// brokerConfig makes the keys that are not there yet.
func (f *fleet) brokerConfig() (nats.ServerConfig, error) {
	l := f.layout
	config := nats.ServerConfig{
		Name: "fleet-dev", Host: f.options.Host, Port: f.options.Port,
		StoreDir: l.store(), SyncAlways: true, Operators: make([]string, 1),
	}
	if config.Port == 0 {
		config.Port = -1 // any free one
	}
	// The operator's comes last: it says that the others are there.
	for _, key := range []struct {
		public *string
		path   string
		kind   nats.KeyKind
	}{
		{&config.Issuer, l.issuerNKey(), nats.IssuerKey},
		{&config.Exchange, l.exchangeNKey(), nats.ExchangeKey},
		{&config.CalloutUser, l.calloutNKey(), nats.UserKey},
		{&config.SystemUser, l.systemNKey(), nats.UserKey},
		{&config.Operators[0], l.operatorNKey(), nats.UserKey},
	} {
		public, err := nats.EnsureKey(key.path, key.kind)
		if err != nil {
			return nats.ServerConfig{}, err
		}
		*key.public = public
	}
	return config, nil
}

// identities are the identity provider, and the callout that relies on it.
func (f *fleet) identities(on local.Units) ([]deploy.Resource, error) {
	address, err := f.identityAddress()
	if err != nil {
		return nil, err
	}
	health, err := freeAddress()
	if err != nil {
		return nil, err
	}
	printed := newFirstLine()
	var found provider
	provides := local.Process{
		Name: "identity provider", Path: f.identity, Said: f.said, Log: f.layout.identityLog(), Stdout: printed,
		Args: func() []string { return []string{"--dir", f.layout.identity(), "--listen", address, "-o", "json"} },
		Ready: func(ctx context.Context) (err error) {
			select {
			case line := <-printed.line:
				found, err = parseProvider(line)
				return err
			case <-time.After(startTimeout):
				return fmt.Errorf("not ready after %s", startTimeout)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
	admits := local.Process{
		Name: "callout", Path: f.operator, Said: f.said, Log: f.layout.calloutLog(),
		Args:  func() []string { return f.calloutArgs(found, health) },
		Ready: func(ctx context.Context) error { return awaitReady(ctx, health) },
	}
	return []deploy.Resource{
		&local.Processes{Units: on, Name: "identity provider", All: []local.Process{provides}},
		&local.Processes{Units: on, Name: "callout", All: []local.Process{admits}},
	}, nil
}

func (f *fleet) calloutArgs(p provider, health string) []string {
	l := f.layout
	return []string{
		"callout", "--server", f.server.URL(), "--identity", contextName, "--health-address", health,
		"--nkey-file", l.operatorNKey(), "--callout-nkey-file", l.calloutNKey(), "--system-nkey-file", l.systemNKey(),
		"--issuer-seed-file", l.issuerNKey(), "--exchange-seed-file", l.exchangeNKey(),
		"--identity-issuer", p.Issuer, "--organization", p.OrganizationID, "--project", p.ProjectID,
		"--device-prefix", p.DevicePrefix, "--service-key-file", p.OperatorKeyFile,
		"--cache-dir", l.calloutCache(), "--signing-key", f.signing,
	}
}

// identityAddress is where the identity provider listens, for good.
func (f *fleet) identityAddress() (string, error) {
	text, err := os.ReadFile(f.layout.identityAddress())
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("address of the identity provider: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return "", err
	}
	return address, os.WriteFile(f.layout.identityAddress(), []byte(address+"\n"), 0o600)
}

// freeAddress is on the loopback interface, where nobody listens yet.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(defaultHost, "0"))
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// awaitReady asks a program whether it is ready, until it is, for startTimeout at
// most.
func awaitReady(ctx context.Context, address string) error {
	asking, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(asking, http.MethodGet, "http://"+address+"/readyz", nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-asking.Done():
			return fmt.Errorf("not ready after %s", startTimeout)
		case <-time.After(pollInterval):
		}
	}
}
