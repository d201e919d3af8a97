package site_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet-deploy/internal/site"
)

const example = `agents:
  programs: {amd64: fleet-agent}
  signingKeys: ["ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
  servers: ["tls://broker.example:4222"]
  ssh: {user: pi, keyFile: ~/.ssh/id_ed25519}
  hosts:
    - {device: pi-1, address: 192.0.2.1, nkeyFile: pi-1.nk}
    - {device: pi-2, local: true, user: pi-2, passwordFile: pi-2.password}
`

// kubeconfig is for a cluster that nobody reaches, and cluster names it.
const (
	kubeconfig = `{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "contexts": [{"name": "c", "context": {"cluster": "c"}}]}`
	cluster = "kubernetes: {kubeconfig: kubeconfig}\n"
)

// write writes a site with the files that it names.
func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"site.yaml": text, "kubeconfig": kubeconfig, "fleet-agent": "program", "pi-1.nk": "seed", "pi-2.password": "word"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return filepath.Join(dir, "site.yaml")
}

func open(path string) (*site.Opened, error) {
	described, err := site.Read(site.Source{Path: path})
	if err != nil {
		return nil, err
	}
	return described.Open(site.Environment{Getenv: func(name string) (string, bool) { return "/home/me", name == "HOME" }})
}

func TestOpen(t *testing.T) {
	opened, err := open(write(t, example))
	require.NoError(t, err)
	require.Len(t, opened.Targets, 2)
	require.Len(t, opened.Closers, 1)
	all, err := opened.Only(nil)
	require.NoError(t, err)
	require.Len(t, all, 2)
	some, err := opened.Only([]string{"pi-2"})
	require.NoError(t, err)
	require.Equal(t, "pi-2", some[0].Name)
	_, err = opened.Only([]string{"pi-3"})
	require.EqualError(t, err, "--only pi-3: the site has no such target; it has pi-1, pi-2")
}

func TestMistakesAreNamed(t *testing.T) {
	_, err := open("/nonexistent/site.yaml")
	require.ErrorContains(t, err, "name the one that describes the site with --file")
	for text, says := range map[string]string{
		"":                  "it is empty",
		"{}":                "it describes nothing",
		"agents: {hots: 1}": "field hots not found",
		example + "---\n{}": "second document",
		cluster + "operator: {image: i, servers: [a]}":                                 "operator: credential: give a key",
		cluster + "operator: {nkeyFile: none}":                                         "operator: nkeyFile: open",
		cluster + "zitadelSetup: {}":                                                   "zitadelSetup: issuer: name the URL",
		"agents: {}":                                                                   "agents.hosts: name at least one host",
		"agents: {packages: [none.deb]}":                                               "agents.packages: package",
		"agents: {caFile: none.pem}":                                                   "agents.caFile: open",
		"agents: {hosts: [{device: Pi, local: true}]}":                                 "agents.hosts[0] (Pi): device",
		"agents: {hosts: [{device: pi}]}":                                              "agents.hosts[0] (pi): address: name it",
		"agents: {hosts: [{device: pi, address: a, hostKey: x}]}":                      "agents.hosts[0] (pi): hostKey",
		"agents: {hosts: [{device: pi, local: true, nkeyFile: none}]}":                 "nkeyFile: open",
		example + "    - {device: pi-1, local: true}":                                  `device "pi-1" is there twice`,
		"agents: {programs: {amd64: fleet-agent}, hosts: [{device: pi, local: true}]}": "signing keys: name at least one",
	} {
		_, err := open(write(t, text))
		require.ErrorContains(t, err, says, text)
	}
}

const enrolling = `agents:
  programs: {amd64: fleet-agent}
  servers: ["tls://broker.example:4222"]
  fleet: {server: "tls://broker.example:4222", nkeyFile: none.nk}
  enroll: {lifetime: 2h, manual: true, wait: 1m}
  hosts:
    - {device: pi-1, local: true, fleetLabels: {site: paris}, replace: true}
    - {device: pi-2, local: true, tokenFile: none.token}
`

func TestHostsThatEnroll(t *testing.T) {
	opened, err := open(write(t, enrolling))
	require.NoError(t, err, "neither the fleet nor a token is needed for devices that are enrolled")
	require.Len(t, opened.Targets, 2)
	for from, c := range map[string][2]string{
		`  fleet: {server: "tls://broker.example:4222", nkeyFile: none.nk}`: {"", "agents.enroll: set agents.fleet"},
		"lifetime: 2h":  {"lifetime: 2s", "agents.enroll.lifetime: 2s is out of range"},
		"wait: 1m":      {"wait: -1m", "agents.enroll.wait"},
		"{site: paris}": {"{device.fleet.nationtech.io/site: paris}", "fleetLabels"},
		"none.token}":   {"none.token, replace: true}", "for devices that agents.enroll invites"},
		"none.token":    {"none.token, nkeyFile: pi-1.nk", "needs neither a key nor a user"},
		"  enroll: {lifetime: 2h, manual: true, wait: 1m}\n": {"", "fleetLabels and replace are for devices"},
	} {
		require.Contains(t, enrolling, from)
		_, err := open(write(t, strings.Replace(enrolling, from, c[0], 1)))
		require.ErrorContains(t, err, c[1], from)
	}
}

func TestPods(t *testing.T) {
	pods := cluster + `agents:
  image: registry.example/fleet-agent:1
  signingKeys: ["ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
  servers: ["tls://broker.example:4222"]
  fleet: {server: "tls://broker.example:4222", nkeyFile: none.nk}
  pods:
    - {device: gateway-1, nkeyFile: pi-1.nk, labels: {rack: "7"}, storage: 2Gi}
`
	opened, err := open(write(t, pods))
	require.NoError(t, err)
	require.Equal(t, "gateway-1", opened.Targets[0].Name)
	for from, c := range map[string][2]string{
		"  image: registry.example/fleet-agent:1\n":                         {"", "agents.pods[0] (gateway-1): image: name"},
		`  fleet: {server: "tls://broker.example:4222", nkeyFile: none.nk}`: {"", "set agents.fleet"},
		"storage: 2Gi}\n":        {"}\n    - {device: gateway-1}\n", `agents.pods[1]: device "gateway-1" is there twice`},
		"kubeconfig: kubeconfig": {"kubeconfig: none", "kubernetes: kubeconfig"},
	} {
		require.Contains(t, pods, from)
		_, err := open(write(t, strings.Replace(pods, from, c[0], 1)))
		require.ErrorContains(t, err, c[1], from)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := site.Parse(data)
		if err == nil && *parsed == (site.Site{}) {
			t.Fatal("an empty site was accepted")
		}
	})
}

const clusterExample = `kubernetes: {kubeconfig: kubeconfig, context: fleet, namespace: fleet}
nats:
  chart: {archive: charts/nats-2.14.2.tgz}
  devices: 1000
  replicas: 3
  tls: {host: broker.example, certFile: tls.crt, keyFile: tls.key}
  users:
    - {name: operator, passwordFile: pi-2.password, role: operator}
    - {nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4, device: pi-1}
  service: {type: LoadBalancer}
zitadel:
  chart: {repository: "https://charts.example", digest: "sha256:00"}
  domain: sso.example
  database: {dsnFile: dsn}
  ingress: {class: nginx, tlsSecret: sso-tls}
zitadelSetup: {devicePrefix: fleet-paris-}
`

// writeCluster writes a site of a cluster with the files that it names.
func writeCluster(t *testing.T, text string) string {
	t.Helper()
	path := write(t, text)
	for name, content := range map[string]string{
		"tls.crt": "certificate", "tls.key": "key", "dsn": "postgresql://db\n",
		"kubeconfig": `{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: u, user: {token: t}}],
contexts: [{name: fleet, context: {cluster: c, user: u}}]}`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte(content), 0o600))
	}
	return path
}

func TestOpenCluster(t *testing.T) {
	opened, err := open(writeCluster(t, clusterExample))
	require.NoError(t, err)
	require.Len(t, opened.Targets, 1)
	require.Equal(t, "server", opened.Targets[0].Name)
}

// serverExample is the file in docs/deploy.md that brings up a whole server side.
func serverExample(t *testing.T) string {
	t.Helper()
	docs, err := os.ReadFile("../../../../docs/deploy.md")
	require.NoError(t, err)
	_, text, found := strings.Cut(string(docs), "<!-- server begin -->\n```yaml\n")
	require.True(t, found)
	text, _, found = strings.Cut(text, "```\n<!-- server end -->")
	require.True(t, found)
	text = strings.Replace(text, "{namespace: fleet}", "{kubeconfig: kubeconfig, context: fleet, namespace: fleet}", 1)
	return strings.Replace(text, "zitadel.dsn", "dsn", 1)
}

func TestOpenServer(t *testing.T) {
	serverExample := serverExample(t)
	opened, err := open(writeCluster(t, serverExample+example))
	require.NoError(t, err)
	require.Equal(t, "server", opened.Targets[0].Name)
	require.Greater(t, opened.Targets[1].Stage, opened.Targets[0].Stage, "agents need the broker")

	for from, c := range map[string][2]string{
		"devices: 1000":                   {"devices: 0", "nats: devices"},
		"  image: \"registry":             {"  replicas: 2 # ", "operator: image"},
		"tls: {host: broker.example, ":    {"users: [{name: o, role: operator}]\n  tls: {host: broker.example, ", "nats: the callout says who may connect"},
		"callout: {}":                     {"callout: {operators: [UX]}", `callout: operators: "UX" is not the public nkey`},
		"callout: {} ":                    {"callout: {keys: {issuerFile: dsn}}", "callout: keys: "},
		"callout: {}  ":                   {"callout: {keys: {issuerFile: none}}", "callout: keys.issuerFile: open"},
		"callout: {}   ":                  {"callout: {servers: [broker]}", `callout: servers: "broker" is no URL`},
		"callout: {}    ":                 {"callout: {identity: {serviceKeyFile: dsn, serviceKeySecret: s}}", "callout: identity: give the key"},
		"callout: {}     ":                {"callout:", "nats: say who may connect: write a callout beside it"},
		"operator:\n  image: \"registry":  {"operator:\n  user: u\n  passwordFile: dsn\n  image: \"registry", "operator: a broker with the callout knows it by a key"},
		"operator:\n  image: \"registry ": {"operator:\n  nkeyFile: dsn\n  image: \"registry", "operator: its key at the broker: nkey seed"},
		"database: {dsnFile: dsn}":        {"database: {}", "zitadel: database"},
		"zitadel:\n  domain: sso.example": {"zitadelSetup: {}\nzitadel:\n  domain: https://sso", "zitadel: domain"},
	} {
		from := strings.TrimRight(from, " ")
		require.Contains(t, serverExample, from)
		_, err := open(writeCluster(t, strings.Replace(serverExample, from, c[0], 1)))
		require.ErrorContains(t, err, c[1], from)
	}
}

func TestCalloutAloneNeedsAnIdentity(t *testing.T) {
	_, err := open(writeCluster(t, "kubernetes: {kubeconfig: kubeconfig, context: fleet}\ncallout: {image: i, devices: 5, servers: [\"tls://b\"]}\n"))
	require.ErrorContains(t, err, "callout: identity: describe zitadel or zitadelSetup as well")
}

func TestMistakesOfTheClusterAreNamed(t *testing.T) {
	for from, c := range map[string][2]string{
		"devices: 1000":                 {"devices: 0", "nats: devices"},
		"replicas: 3":                   {"replicas: 2", "neither 1 nor 3"},
		"certFile: tls.crt":             {"certFile: none", "nats: tls.certFile: open"},
		"role: operator":                {"role: king", "nats: users[0]: write a device, or the role operator or viewer"},
		"{archive: charts":              {"{oci: oci://h/c, archive: charts", "nats: chart: name one of"},
		"context: fleet":                {"context: other", "kubernetes: kubeconfig"},
		"kubeconfig: kubeconfig":        {"kubeconfig: none", "kubernetes: kubeconfig"},
		"type: LoadBalancer":            {"type: Balancer", `type "Balancer" is none of`},
		"domain: sso.example":           {"domain: https://sso.example", "zitadel: domain"},
		"dsnFile: dsn":                  {"dsnFile: none", "zitadel: database.dsnFile: open"},
		"devicePrefix: fleet-paris-":    {"devicePrefix: Paris", "zitadelSetup: prefix"},
		"{devicePrefix: fleet-paris-}":  {"{issuer: https://other.example}", "zitadelSetup: issuer: the site has a zitadel of its own"},
		"{devicePrefix: fleet-paris":    {"{adminTokenFile: none, devicePrefix: fleet-paris", "zitadelSetup: adminTokenFile: open"},
		"database: {dsnFile: dsn}":      {"database: {}", "zitadel: database: give the DSN"},
		"devices: 1000\n  replicas: 3":  {"devices: 1000\n  callout: {}", "write a callout beside it, or here the public keys"},
		"UDXU4RCSJNZOIQHZNWXHXORDPRTGN": {"UX", "is not the public nkey of a user"},
	} {
		require.Contains(t, clusterExample, from)
		_, err := open(writeCluster(t, strings.Replace(clusterExample, from, c[0], 1)))
		require.ErrorContains(t, err, c[1], from)
	}
}
