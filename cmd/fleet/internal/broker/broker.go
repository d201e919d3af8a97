// Package broker reaches a fleet over NATS.
package broker

import (
	"context"
	"log/slog"
	"strings"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/contexts"
)

// Connect implements cli.ConnectFunc. The errors are those of nats.Connect.
func Connect(ctx context.Context, to contexts.Context) (cli.Fleet, func(), error) {
	var said complaints
	config := nats.Config{Name: "fleet", CAFile: to.CAFile, FailFast: true, Logger: slog.New(&said)}
	for server := range strings.SplitSeq(to.Server, ",") {
		config.Servers = append(config.Servers, strings.TrimSpace(server))
	}
	switch {
	case to.NKeyFile != "":
		config.Credential = nats.SeedFile(to.NKeyFile)
	case to.User != "":
		config.Credential = nats.PasswordFile(to.User, to.PasswordFile)
	case to.AccessTokenFile != "":
		config.Credential = nats.TokenFile(to.AccessTokenFile)
	}
	conn, err := nats.Connect(ctx, config)
	if err != nil {
		return cli.Fleet{}, nil, err
	}
	if err := conn.DetectViewer(ctx); err != nil {
		conn.Close()
		return cli.Fleet{}, nil, err
	}
	return cli.Fleet{
		Devices:     nats.NewDeviceRegistry(conn),
		Deployments: nats.NewDeploymentStore(conn),
		Statuses:    nats.NewDeploymentStatusStore(conn),
		Observed:    nats.NewObservedStateConsumer(conn),
		Commands:    nats.NewCommandBus(conn),
		Events:      nats.NewEventLog(conn),
		Enrollments: nats.NewEnrollmentStore(conn),
		Tokens:      nats.NewTokenIssuer(conn),
		Complaint:   said.last,
	}, conn.Close, nil
}
