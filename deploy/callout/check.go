package callout

import (
	"net/url"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// check checks what is known from the beginning.
func (s *FleetCalloutScore) check() error {
	switch {
	case s.Image == "":
		return domain.Errorf(domain.ErrInvalid, "image: name the image of fleet-operator, best with its digest")
	case s.Devices < 1:
		return domain.Errorf(domain.ErrInvalid, "devices: say how many there will be; the resources follow from it")
	case s.Replicas < 0:
		return domain.Errorf(domain.ErrInvalid, "replicas: %d is less than none", s.Replicas)
	case len(s.Servers) == 0:
		return domain.Errorf(domain.ErrInvalid, "servers: name at least one URL of the broker")
	case s.KeyLifetime != 0 && s.KeyLifetime < time.Hour:
		return domain.Errorf(domain.ErrInvalid, "keyLifetime: %s is too short, must be 1h or more", s.KeyLifetime)
	case len(s.Identity.ServiceKey) > 0 && s.Identity.ServiceKeySecret != "":
		return domain.Errorf(domain.ErrInvalid, "identity: give the key of the service user, or name the Secret with it, and not both")
	}
	for _, server := range s.Servers {
		if parsed, err := url.Parse(server); err != nil || parsed.Hostname() == "" {
			return domain.Errorf(domain.ErrInvalid, "servers: %q is no URL such as tls://broker.example:4222", server)
		}
	}
	return s.checkKeys()
}

// checkCompleted checks what may be known only once other parts are there.
func (s *FleetCalloutScore) checkCompleted() error {
	switch i := s.Identity; {
	case i.Issuer == "":
		return domain.Errorf(domain.ErrInvalid, "identity.issuer: name the URL of Zitadel, exactly as it names itself")
	case i.Organization == "":
		return domain.Errorf(domain.ErrInvalid, "identity.organization: name the ID of the fleet's organization at Zitadel")
	case i.Project == "":
		return domain.Errorf(domain.ErrInvalid, "identity.project: name the ID of the fleet's project at Zitadel")
	case i.DevicePrefix == "":
		return domain.Errorf(domain.ErrInvalid, `identity.devicePrefix: say what the user IDs of devices begin with, such as "fleet-paris-"`)
	case len(i.ServiceKey) == 0 && i.ServiceKeySecret == "":
		return domain.Errorf(domain.ErrInvalid, "identity: give the key of the service user that makes identities, or name the Secret with it")
	case len(s.SigningKeys) == 0:
		return domain.Errorf(domain.ErrInvalid, "signingKeys: name at least one; `fleet-operator pubkey` prints it")
	}
	for _, key := range s.SigningKeys {
		if _, err := contracts.ParsePublicKey(key); err != nil {
			return domain.WrapError(domain.ErrInvalid, err, "signingKeys")
		}
	}
	return nil
}
