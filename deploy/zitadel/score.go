package zitadel

import (
	"cmp"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/kube"
	"github.com/nationtech/harmony-fleet/domain"
)

// ChartVersion is the version of the upstream chart that the values are for.
const ChartVersion = "9.34.0"

// readyTimeout has room for the first initialization of the database.
const readyTimeout = 10 * time.Minute

// Upstream is the upstream chart at its own repository.
func Upstream() kube.ChartSource {
	return kube.Repository{URL: "https://charts.zitadel.com", Name: "zitadel", Version: ChartVersion}
}

// Cluster is what the Score needs of a topology.
type Cluster interface {
	kube.Cluster
	kube.Releases
	kube.Forwards
}

// FleetZitadelScore is Zitadel in a cluster. Its master key and the password of
// its first administrator are made once, in the cluster, and shown to nobody.
type FleetZitadelScore struct {
	// Domain is the host name by which devices and people reach it; needed. It
	// cannot be changed later: tokens and sessions are bound to it.
	Domain string
	// Port is the port by which they do; 443, or 80 when Insecure, by default.
	Port int
	// Insecure is for clients that reach it without TLS.
	Insecure bool
	// Database is a PostgreSQL that is there, or the chart's; needed.
	Database Database
	// Chart is where the chart comes from; Upstream by default.
	Chart kube.ChartSource
	// Namespace is "fleet", and Release "zitadel", by default.
	Namespace string
	Release   string
	// MasterKey is 32 characters of ASCII; generated once by default.
	MasterKey []byte
	// Replicas is 2 by default.
	Replicas int
	// Ingress, when set, makes Ingresses for Domain.
	Ingress *Ingress
	// ImageRegistry is a mirror of the images; empty for the chart's own.
	ImageRegistry string
}

// Database is where Zitadel keeps everything.
type Database struct {
	// DSN is the connection string of an external PostgreSQL 14 or later, such
	// as "postgresql://user:password@host:5432/zitadel?sslmode=verify-full". It
	// is kept in a Secret.
	DSN []byte
	// CA holds the authority of the database's certificate, in PEM; optional.
	CA []byte
	// Bundled is the chart's own PostgreSQL instead, one server without a
	// backup: for trials. Its passwords are among the chart's values.
	Bundled *Bundled
}

// Bundled are the passwords of the chart's PostgreSQL.
type Bundled struct {
	Password      []byte
	AdminPassword []byte
}

// Ingress says how the cluster lets clients in.
type Ingress struct {
	Class string
	// TLSSecret is the Secret with the certificate of Domain; needed unless the
	// ingress controller has one for all.
	TLSSecret   string
	Annotations map[string]string
}

var _ deploy.Score[Cluster] = (*FleetZitadelScore)(nil)

// Name implements deploy.Score.
func (s *FleetZitadelScore) Name() string { return "zitadel " + s.release() }

func (s *FleetZitadelScore) namespace() string { return cmp.Or(s.Namespace, "fleet") }
func (s *FleetZitadelScore) release() string   { return cmp.Or(s.Release, "zitadel") }
func (s *FleetZitadelScore) replicas() int     { return cmp.Or(s.Replicas, 2) }

// AdminTokenSecret is the Secret of the chart's own that holds the token of the
// instance's first administrator, a service user, under AdminTokenKey. It stays
// when the release is removed.
const (
	AdminTokenSecret = "iam-admin-pat"
	AdminTokenKey    = "pat"
)

// Service is the name that the chart gives its service and its deployment.
func (s *FleetZitadelScore) Service() string {
	if strings.Contains(s.release(), "zitadel") {
		return s.release()
	}
	return s.release() + "-zitadel"
}

func (s *FleetZitadelScore) scheme() (string, int) {
	if s.Insecure {
		return "http", 80
	}
	return "https", 443
}

func (s *FleetZitadelScore) port() int {
	_, usual := s.scheme()
	return cmp.Or(s.Port, usual)
}

// host is Domain with its port where that is not the usual one.
func (s *FleetZitadelScore) host() string {
	if _, usual := s.scheme(); s.port() != usual {
		return net.JoinHostPort(s.Domain, strconv.Itoa(s.port()))
	}
	return s.Domain
}

// Issuer is the issuer of its tokens, and the URL by which clients reach it.
func (s *FleetZitadelScore) Issuer() string {
	scheme, _ := s.scheme()
	return scheme + "://" + s.host()
}

func (s *FleetZitadelScore) check() error {
	for _, name := range []string{s.namespace(), s.release()} {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			return domain.Errorf(domain.ErrInvalid, "name %q: %s", name, problems[0])
		}
	}
	if problems := validation.IsDNS1123Subdomain(s.Domain); len(problems) > 0 {
		return domain.Errorf(domain.ErrInvalid, "domain %q: name the host alone, without scheme, port and path", s.Domain)
	}
	if _, err := netip.ParseAddr(s.Domain); err == nil {
		return domain.Errorf(domain.ErrInvalid, "domain %q: an address is no domain", s.Domain)
	}
	switch {
	case s.Port < 0 || s.Port > 65535:
		return domain.Errorf(domain.ErrInvalid, "port: %d is none", s.Port)
	case s.Replicas < 0:
		return domain.Errorf(domain.ErrInvalid, "replicas: %d is too few", s.Replicas)
	case s.Insecure && s.Ingress != nil && s.Ingress.TLSSecret != "":
		return domain.Errorf(domain.ErrInvalid, "insecure: clients come with TLS, since the ingress has a certificate")
	case len(s.MasterKey) > 0 && !validMasterKey(s.MasterKey):
		return domain.Errorf(domain.ErrInvalid, "masterKey: it must be %d printable ASCII characters", masterKeyLength)
	}
	return s.Database.check()
}

func validMasterKey(key []byte) bool {
	return len(key) == masterKeyLength && !strings.ContainsFunc(string(key), func(r rune) bool { return r < '!' || r > '~' })
}

func (d Database) check() error {
	switch {
	case (len(d.DSN) == 0) == (d.Bundled == nil):
		return domain.Errorf(domain.ErrInvalid, "database: give the DSN of a PostgreSQL, or take the chart's, and not both")
	case d.Bundled != nil && (len(d.Bundled.Password) == 0 || len(d.Bundled.AdminPassword) == 0):
		return domain.Errorf(domain.ErrInvalid, "database: the chart's PostgreSQL needs a password and one of its administrator")
	case d.Bundled != nil && len(d.CA) > 0:
		return domain.Errorf(domain.ErrInvalid, "database: the chart's PostgreSQL has no certificate")
	}
	return nil
}

// Resources implements deploy.Score.
func (s *FleetZitadelScore) Resources(topology Cluster) ([]deploy.Resource, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	secret := func(name string) *kube.Secret {
		return &kube.Secret{Objects: topology, Namespace: s.namespace(), Name: name}
	}
	masterKey := secret(s.masterKeySecret())
	masterKey.Keep = "without it nothing in the database can be read"
	if len(s.MasterKey) > 0 {
		masterKey.Data = map[string][]byte{"masterkey": s.MasterKey}
	} else {
		masterKey.Generate = newMasterKey
	}
	admin := secret(s.adminSecret())
	admin.Keep, admin.Generate = "it has the password of the first administrator", newAdmin
	resources := []deploy.Resource{
		kube.Requirement{Cluster: topology},
		&kube.Namespace{Objects: topology, Name: s.namespace()},
		masterKey, admin,
	}
	if len(s.Database.DSN) > 0 {
		database := secret(s.databaseSecret())
		database.Data = map[string][]byte{"dsn": s.Database.DSN}
		resources = append(resources, database)
	}
	if len(s.Database.CA) > 0 {
		ca := secret(s.databaseCASecret())
		ca.Data = map[string][]byte{"ca.crt": s.Database.CA}
		resources = append(resources, ca)
	}
	leaves := "the database"
	if s.Database.Bundled != nil {
		leaves = "the volume of the database"
	}
	source := s.Chart
	if source == nil {
		source = Upstream()
	}
	return append(resources, &kube.Release{
		Releases: topology, Namespace: s.namespace(), Name: s.release(), Source: source,
		Values: s.values(), Timeout: readyTimeout, Leaves: leaves,
	}), nil
}
