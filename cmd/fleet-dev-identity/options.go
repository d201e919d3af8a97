package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/verifier"
)

// options are what the command line says.
type options struct {
	listen   string
	dir      string
	project  string
	prefix   verifier.DevicePrefix
	lifetime time.Duration
	json     bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var output string
	set := flag.NewFlagSet("fleet-dev-identity", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		fmt.Fprint(stderr, usage)
		set.PrintDefaults()
	}
	set.StringVar(&o.listen, "listen", "127.0.0.1:8085", "`address` on this machine's loopback; the issuer's URL follows from it, and must not change once devices are enrolled")
	set.StringVar(&o.dir, "dir", "", "`directory` of the state and the keys, readable by its owner alone")
	set.StringVar(&o.project, "project", "fleet", "`name` of the fleet's project")
	set.StringVar((*string)(&o.prefix), "prefix", "fleet-", "`text` that the user IDs of devices start with")
	set.DurationVar(&o.lifetime, "token-lifetime", 12*time.Hour, "`duration` that tokens are valid for, a second or more")
	set.StringVar(&output, "o", "text", "output `format`: text or json")
	if err := set.Parse(args); err != nil {
		return options{}, err
	}
	o.json = output == "json"
	host, _, err := net.SplitHostPort(o.listen)
	switch ip := net.ParseIP(host); {
	case set.NArg() > 0:
		return options{}, fmt.Errorf("argument %q is not understood: see --help", set.Arg(0))
	case o.dir == "":
		return options{}, errors.New("--dir is missing: name the directory that keeps the identities, such as --dir ~/.local/state/fleet-identity")
	case err != nil:
		return options{}, fmt.Errorf("--listen %q is not an address such as 127.0.0.1:8085", o.listen)
	case host != "localhost" && (ip == nil || ip.To4() == nil || !ip.IsLoopback()):
		return options{}, fmt.Errorf("--listen %q is not on this machine's loopback, 127.0.0.1 or localhost: this provider guards nothing against a network", o.listen)
	case output != "text" && output != "json":
		return options{}, fmt.Errorf("-o %q is neither text nor json", output)
	case o.lifetime < time.Second:
		return options{}, fmt.Errorf("--token-lifetime %s is less than a second", o.lifetime)
	case strings.TrimSpace(o.project) == "":
		return options{}, errors.New("--project is empty")
	}
	return o, o.prefix.Validate()
}
