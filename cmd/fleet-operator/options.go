package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/nationtech/harmony-fleet/adapters/nats"
)

// reconnectJitter spreads the reconnections of operators.
const reconnectJitter = time.Second

// common are the flags that every long-running command has.
type common struct {
	servers       []string
	nkeyFile      string
	user          string
	passwordFile  string
	caFile        string
	identity      string
	healthAddress string
	logLevel      string
	logFormat     string
}

func (o *common) register(flags *pflag.FlagSet, healthAddress string) {
	hostname, _ := os.Hostname()
	flags.StringSliceVar(&o.servers, "server", []string{"nats://127.0.0.1:4222"}, "URLs of the broker, separated by commas")
	flags.StringVar(&o.nkeyFile, "nkey-file", "", "file with the operator's NATS nkey seed")
	flags.StringVar(&o.user, "user", "", "user at the broker, instead of an nkey")
	flags.StringVar(&o.passwordFile, "password-file", "", "file with that user's password")
	flags.StringVar(&o.caFile, "ca-file", "", "PEM file of the certificate authorities to trust for the broker (default: the system's)")
	flags.StringVar(&o.identity, "identity", hostname, "name of this operator; each that runs needs another, and one that is restarted the same")
	flags.StringVar(&o.healthAddress, "health-address", healthAddress, "address of /healthz, /readyz and /status; empty for none")
	flags.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&o.logFormat, "log-format", "text", "text or json")
}

func (o *common) check() error {
	if (o.user == "") != (o.passwordFile == "") {
		return errors.New("--user and --password-file: set both or none")
	}
	if o.user != "" && o.nkeyFile != "" {
		return errors.New("--nkey-file and --user: choose one of them")
	}
	if o.identity == "" {
		return errors.New("--identity must not be empty")
	}
	if o.logFormat != "text" && o.logFormat != "json" {
		return fmt.Errorf("--log-format: %q is unknown, use text or json", o.logFormat)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return fmt.Errorf("--log-level: %q is unknown, use debug, info, warn or error", o.logLevel)
	}
	return nil
}

// options are the flags of `fleet-operator run`.
type options struct {
	common

	signingKeyFile    string
	replicas          int
	fixStreams        bool
	leaseTTL          time.Duration
	heartbeatInterval time.Duration
	kubernetes        kubernetesOptions
}

func (o *options) register(flags *pflag.FlagSet) {
	o.common.register(flags, "127.0.0.1:8081")
	flags.StringVar(&o.signingKeyFile, "signing-key-file", "", "the fleet's Ed25519 key as PKCS #8 PEM; see `fleet-operator keygen`")
	flags.IntVar(&o.replicas, "replicas", 1, "copies of each bucket and stream in a clustered broker, 1, 3 or 5")
	flags.BoolVar(&o.fixStreams, "fix-streams", false, "correct streams that are not as they should be, where that loses nothing")
	flags.DurationVar(&o.leaseTTL, "lease-ttl", 10*time.Second, "how long after its last sign of life a leader is followed by another")
	flags.DurationVar(&o.heartbeatInterval, "heartbeat-interval", 30*time.Second, "mean time between the heartbeats of a device, 1s to 1h")
	o.kubernetes.register(flags)
}

func (o *options) check() error {
	if o.signingKeyFile == "" {
		return errors.New("--signing-key-file is required: make a key with `fleet-operator keygen FILE`")
	}
	if err := o.common.check(); err != nil {
		return err
	}
	if o.heartbeatInterval < time.Second || o.heartbeatInterval > time.Hour {
		return fmt.Errorf("--heartbeat-interval: %s is out of range, must be from 1s to 1h", o.heartbeatInterval)
	}
	if o.leaseTTL < time.Second || o.leaseTTL > time.Hour {
		return fmt.Errorf("--lease-ttl: %s is out of range, must be from 1s to 1h", o.leaseTTL)
	}
	return o.kubernetes.check()
}

func (o *common) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(o.logLevel)) // checked before
	handler := &slog.HandlerOptions{Level: level}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, handler))
	}
	return slog.New(slog.NewTextHandler(w, handler))
}

func (o *common) credential() nats.Credential {
	switch {
	case o.nkeyFile != "":
		return nats.SeedFile(o.nkeyFile)
	case o.user != "":
		return nats.PasswordFile(o.user, o.passwordFile)
	default:
		return nats.Credential{}
	}
}
