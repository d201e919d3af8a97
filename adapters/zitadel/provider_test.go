package zitadel_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/zitadel/zitadel-go/v3/pkg/client"
	filterapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/filter/v2"
	userapi "github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/user/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func rand8() string { return rand.Text()[:8] }

func newKey(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func (f *fleet) enroll(t *testing.T, id contracts.DeviceID) (domain.DeviceCredential, *ecdsa.PrivateKey) {
	t.Helper()
	key, public := newKey(t)
	credential, err := f.provider.Enroll(t.Context(), id, public, time.Now().Add(time.Hour))
	require.NoError(t, err)
	return credential, key
}

func TestTokensOfDevicesAndOperatorAreVerified(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		v := f.verifier(t)
		credential, key := f.enroll(t, "pi-1")
		token, err := f.signIn(t, credential, key)
		require.NoError(t, err)
		principal, err := v.Verify(t.Context(), token.Value)
		require.NoError(t, err)
		require.Equal(t, contracts.DeviceID("pi-1"), principal.Device)
		require.Equal(t, []domain.Role{domain.RoleDevice}, principal.Roles)
		require.WithinDuration(t, token.ExpiresAt, principal.ExpiresAt, 5*time.Second)

		token, err = f.provider.Token(t.Context())
		require.NoError(t, err)
		principal, err = v.Verify(t.Context(), token.Value)
		require.NoError(t, err)
		require.Empty(t, principal.Device)
		require.Equal(t, []domain.Role{domain.RoleOperator}, principal.Roles)
	})
}

// A device can rename itself: it becomes nobody else by that, and keeps nobody
// else out.
func TestDeviceThatTakesAnothersName(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		credential, key := f.enroll(t, "pi-1")
		self := f.as(t, credential, key)
		stolen := f.prefix.UserID("pi-2")
		_, err := self.UserServiceV2().UpdateUser(t.Context(), &userapi.UpdateUserRequest{UserId: credential.UserID, Username: &stolen})
		require.NoError(t, err)
		token, err := f.signIn(t, credential, key)
		require.NoError(t, err)
		principal, err := f.verifier(t).Verify(t.Context(), token.Value)
		require.NoError(t, err)
		require.Equal(t, contracts.DeviceID("pi-1"), principal.Device)

		second, secondKey := f.enroll(t, "pi-2")
		require.Equal(t, stolen, second.UserID)
		_, err = f.signIn(t, second, secondKey)
		require.NoError(t, err)
		_, err = f.provider.Enroll(t.Context(), "pi-2", publicOf(t, secondKey), time.Now().Add(time.Hour))
		require.NoError(t, err)
	})
}

// What a device gave itself is gone when it is restored.
func TestRestoreRemovesWhatTheDeviceGaveItself(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		credential, key := f.enroll(t, "pi-1")
		self := f.as(t, credential, key)
		hidden, public := newKey(t)
		added, err := self.UserServiceV2().AddKey(t.Context(), &userapi.AddKeyRequest{
			UserId: credential.UserID, PublicKey: []byte(public), ExpirationDate: timestamppb.New(time.Now().Add(time.Hour)),
		})
		require.NoError(t, err)
		access, err := self.UserServiceV2().AddPersonalAccessToken(t.Context(), &userapi.AddPersonalAccessTokenRequest{
			UserId: credential.UserID, ExpirationDate: timestamppb.New(time.Now().Add(time.Hour)),
		})
		require.NoError(t, err)
		_, err = f.signIn(t, domain.DeviceCredential{UserID: credential.UserID, KeyID: added.GetKeyId()}, hidden)
		require.NoError(t, err)

		require.NoError(t, f.provider.Revoke(t.Context(), "pi-1"))
		require.NoError(t, f.provider.Restore(t.Context(), "pi-1"))
		_, err = f.signIn(t, domain.DeviceCredential{UserID: credential.UserID, KeyID: added.GetKeyId()}, hidden)
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
		_, err = self.UserServiceV2().GetUserByID(client.BearerTokenCtx(t.Context(), access.GetToken()), &userapi.GetUserByIDRequest{UserId: credential.UserID})
		require.Error(t, err)
	})
}

// TestRotateRemovesWhatTheDeviceGaveItself: whoever had the old key could come
// back by an access token that they made with it.
func TestRotateRemovesWhatTheDeviceGaveItself(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		credential, key := f.enroll(t, "pi-1")
		self := f.as(t, credential, key)
		access, err := self.UserServiceV2().AddPersonalAccessToken(t.Context(), &userapi.AddPersonalAccessTokenRequest{
			UserId: credential.UserID, ExpirationDate: timestamppb.New(time.Now().Add(time.Hour)),
		})
		require.NoError(t, err)
		require.Eventually(t, func() bool { // lists lag
			_, err := self.UserServiceV2().GetUserByID(client.BearerTokenCtx(t.Context(), access.GetToken()), &userapi.GetUserByIDRequest{UserId: credential.UserID})
			return err == nil
		}, 10*time.Second, 20*time.Millisecond)
		_, public := newKey(t)
		_, err = f.provider.Rotate(t.Context(), "pi-1", public, time.Now().Add(time.Hour))
		require.NoError(t, err)
		_, err = self.UserServiceV2().GetUserByID(client.BearerTokenCtx(t.Context(), access.GetToken()), &userapi.GetUserByIDRequest{UserId: credential.UserID})
		require.Error(t, err)
	})
}

func TestEnrollingAgainLeavesFewKeys(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		var credential domain.DeviceCredential
		var key *ecdsa.PrivateKey
		for range 12 {
			credential, key = f.enroll(t, "pi-1")
		}
		_, err := f.signIn(t, credential, key)
		require.NoError(t, err, "the last one works")
		// Enrollments that come faster than the list of keys follows find nothing
		// to remove; a later one does.
		require.Eventually(t, func() bool {
			credential, key = f.enroll(t, "pi-1")
			listed, err := f.as(t, credential, key).UserServiceV2().ListKeys(t.Context(), &userapi.ListKeysRequest{
				Filters: []*userapi.KeysSearchFilter{{Filter: &userapi.KeysSearchFilter_UserIdFilter{UserIdFilter: &filterapi.IDFilter{Id: credential.UserID}}}},
			})
			return err == nil && len(listed.GetResult()) < 10
		}, time.Minute, 200*time.Millisecond)
	})
}

func TestUserOfAnotherFleetIsLeftAlone(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		s := open(t)
		f := newFleet(t, s)
		other, err := zitadel.New(t.Context(), zitadel.Config{
			Issuer: s.issuer, OrganizationID: f.setup.OrganizationID, ProjectID: newFleet(t, s).setup.ProjectID, DevicePrefix: f.prefix, Key: *f.setup.Key,
		}, zitadel.Options{Client: web()})
		require.NoError(t, err)
		defer func() { require.NoError(t, other.Close()) }()
		f.enroll(t, "pi-1")
		_, public := newKey(t)
		_, err = other.Enroll(t.Context(), "pi-1", public, time.Now().Add(time.Hour))
		require.ErrorIs(t, err, domain.ErrConflict)
	})
}

// Missing rights look like a user that does not exist, and are not taken for it.
func TestMissingRightsAreNoMissingUser(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		f.enroll(t, "pi-2")
		credential, key := f.enroll(t, "pi-1")
		weak, err := zitadel.New(t.Context(), zitadel.Config{
			Issuer: f.issuer, OrganizationID: f.setup.OrganizationID, ProjectID: f.setup.ProjectID, DevicePrefix: f.prefix,
			Key: zitadel.ServiceKey{UserID: credential.UserID, KeyID: credential.KeyID, Signer: key},
		}, zitadel.Options{Client: web()})
		require.NoError(t, err)
		defer func() { require.NoError(t, weak.Close()) }()
		_, public := newKey(t)
		for _, id := range []contracts.DeviceID{"pi-2", "pi-3"} {
			require.ErrorIs(t, weak.Revoke(t.Context(), id), domain.ErrPermissionDenied)
			require.ErrorIs(t, weak.Restore(t.Context(), id), domain.ErrPermissionDenied)
			_, err = weak.Enroll(t.Context(), id, public, time.Now().Add(time.Hour))
			require.ErrorIs(t, err, domain.ErrPermissionDenied)
			_, err = weak.Rotate(t.Context(), id, public, time.Now().Add(time.Hour))
			require.ErrorIs(t, err, domain.ErrPermissionDenied)
		}
		require.ErrorContains(t, err, "ORG_USER_MANAGER")
	})
}

func TestKeysThatZitadelWouldTakeAndNotAccept(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	f := newFleet(t, emulated(t))
	_, err = f.provider.Enroll(t.Context(), "pi-1", publicOf(t, p384), time.Now().Add(time.Hour))
	require.ErrorIs(t, err, domain.ErrInvalid)
	key, public := newKey(t)
	_, err = f.provider.Enroll(t.Context(), "pi-1", public, time.Now().Add(-time.Hour))
	require.ErrorIs(t, err, domain.ErrInvalid)
	_, err = f.provider.Enroll(t.Context(), "Not.An.ID", publicOf(t, key), time.Now().Add(time.Hour))
	require.ErrorIs(t, err, domain.ErrInvalid)
	require.ErrorIs(t, f.provider.Revoke(t.Context(), "Not.An.ID"), domain.ErrInvalid)
}

func publicOf(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}
