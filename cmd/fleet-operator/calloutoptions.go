package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
	"github.com/nationtech/harmony-fleet/cmd/fleet-operator/internal/policy"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/enrollment"
)

// calloutOptions are the flags of `fleet-operator callout`.
type calloutOptions struct {
	common

	calloutNKeyFile, systemNKeyFile string
	issuerSeedFile, exchangeFile    string
	account                         string
	workers                         int

	identityIssuer, organization, project string
	devicePrefix, serviceKeyFile          string
	cacheDir                              string

	signingKeys   []string
	deviceServers []string
	deviceCAFile  string
	keyLifetime   time.Duration
	policy        policy.Files
}

func (o *calloutOptions) register(flags *pflag.FlagSet) {
	o.common.register(flags, "127.0.0.1:8082")
	flags.StringVar(&o.calloutNKeyFile, "callout-nkey-file", "", "file with the nkey seed of the callout's user at the broker")
	flags.StringVar(&o.systemNKeyFile, "system-nkey-file", "", "file with the nkey seed of the user in the broker's system account, which ends connections")
	flags.StringVar(&o.issuerSeedFile, "issuer-seed-file", "", "file with the nkey seed that signs the users who are admitted")
	flags.StringVar(&o.exchangeFile, "exchange-seed-file", "", "file with the seed of the key that encrypts the exchange with the broker; empty for none")
	flags.StringVar(&o.account, "account", "", "the fleet's account at the broker (default FLEET)")
	flags.IntVar(&o.workers, "workers", 0, "how many clients are decided about at once (default 64)")

	flags.StringVar(&o.identityIssuer, "identity-issuer", "", "URL of Zitadel, exactly as it names itself")
	flags.StringVar(&o.organization, "organization", "", "ID of the fleet's organization at Zitadel")
	flags.StringVar(&o.project, "project", "", "ID of the fleet's project at Zitadel")
	flags.StringVar(&o.devicePrefix, "device-prefix", "", `what the user IDs of devices begin with, such as "fleet-paris-"`)
	flags.StringVar(&o.serviceKeyFile, "service-key-file", "", "key file of the service user that makes the identities of devices")
	flags.StringVar(&o.cacheDir, "cache-dir", "", "directory to keep Zitadel's keys in, so that devices are admitted after a restart while it is away")

	flags.StringSliceVar(&o.signingKeys, "signing-key", nil, "the fleet's public keys, as `fleet-operator pubkey` prints them, separated by commas")
	flags.StringSliceVar(&o.deviceServers, "device-server", nil, "URLs of the broker as devices reach it, separated by commas (default: --server)")
	flags.StringVar(&o.deviceCAFile, "device-ca-file", "", "PEM file of the certificate authority that devices shall pin for the broker")
	flags.DurationVar(&o.keyLifetime, "key-lifetime", 365*24*time.Hour, "how long the key of a device is accepted")
	flags.StringVar(&o.policy.Serials, "approve-serials", "", "file with the serial numbers of devices to approve, one in a line, and behind it the device when it is for one; read again when it changes")
	flags.StringVar(&o.policy.MachineIDs, "approve-machine-ids", "", "the same with machine IDs")
	flags.StringArrayVar(&o.policy.Labels, "approve-labels", nil, "approve devices that are invited with these labels, such as site=paris,ring=1; may be repeated")
}

func (o *calloutOptions) check() error {
	if err := o.common.check(); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"callout-nkey-file": o.calloutNKeyFile, "system-nkey-file": o.systemNKeyFile, "issuer-seed-file": o.issuerSeedFile,
		"identity-issuer": o.identityIssuer, "organization": o.organization, "project": o.project,
		"device-prefix": o.devicePrefix, "service-key-file": o.serviceKeyFile,
	} {
		if value == "" {
			return fmt.Errorf("--%s is required", name)
		}
	}
	if len(o.signingKeys) == 0 {
		return errors.New("--signing-key is required: `fleet-operator pubkey FILE` prints it")
	}
	if o.keyLifetime < time.Hour {
		return fmt.Errorf("--key-lifetime: %s is too short, must be 1h or more", o.keyLifetime)
	}
	return nil
}

// fleet is what enrolled devices are told.
func (o *calloutOptions) fleet() (enrollment.Fleet, error) {
	fleet := enrollment.Fleet{Issuer: o.identityIssuer, ProjectID: o.project, Servers: o.deviceServers}
	if len(fleet.Servers) == 0 {
		fleet.Servers = o.servers
	}
	for _, text := range o.signingKeys {
		key, err := contracts.ParsePublicKey(text)
		if err != nil {
			return enrollment.Fleet{}, fmt.Errorf("--signing-key: %w", err)
		}
		fleet.SigningKeys = append(fleet.SigningKeys, ed25519.PublicKey(key))
	}
	if o.deviceCAFile != "" {
		authority, err := os.ReadFile(o.deviceCAFile)
		if err != nil {
			return enrollment.Fleet{}, fmt.Errorf("--device-ca-file: %w", err)
		}
		fleet.ServerCA = string(authority)
	}
	return fleet, nil
}

func (o *calloutOptions) zitadel() (zitadel.Config, error) {
	data, err := os.ReadFile(o.serviceKeyFile)
	if err != nil {
		return zitadel.Config{}, fmt.Errorf("--service-key-file: %w", err)
	}
	key, err := zitadel.ParseServiceKey(data)
	if err != nil {
		return zitadel.Config{}, fmt.Errorf("--service-key-file %s: %w", o.serviceKeyFile, err)
	}
	return zitadel.Config{
		Issuer: o.identityIssuer, OrganizationID: o.organization, ProjectID: o.project,
		DevicePrefix: verifier.DevicePrefix(o.devicePrefix), Key: key,
	}, nil
}
