package zitadel_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/zitadel"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestSetupIsIdempotent(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		require.Eventually(t, func() bool { // the list of keys lags
			again, err := zitadel.Setup(t.Context(), f.admin, f.setupConfig(), zitadel.SetupOptions{})
			require.NoError(t, err)
			require.Equal(t, f.setup.ProjectID, again.ProjectID)
			require.Equal(t, f.setup.OrganizationID, again.OrganizationID)
			require.Equal(t, f.setup.OperatorID, again.OperatorID)
			return again.Key == nil
		}, 20*time.Second, 100*time.Millisecond)

		config := f.setupConfig()
		config.NewKey = true
		renewed, err := zitadel.Setup(t.Context(), f.admin, config, zitadel.SetupOptions{})
		require.NoError(t, err)
		require.NotNil(t, renewed.Key)
		require.NotEqual(t, f.setup.Key.KeyID, renewed.Key.KeyID)

		_, isDevice := f.prefix.Device(f.setup.OperatorID)
		require.False(t, isDevice)
	})
}

// The operator manages users, and cannot set fleets up.
func TestOperatorCannotSetUp(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		f := newFleet(t, open(t))
		config := f.setupConfig()
		config.OrganizationID = f.setup.OrganizationID
		config.Project += " 2"
		_, err := zitadel.Setup(t.Context(), zitadel.Admin{Key: *f.setup.Key}, config, zitadel.SetupOptions{Client: web()})
		require.ErrorIs(t, err, domain.ErrPermissionDenied)
		require.ErrorContains(t, err, "ORG_OWNER")
	})
}

func TestSetupWithoutAnAdministrator(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, open func(t *testing.T) server) {
		t.Helper()
		s := open(t)
		config := zitadel.SetupConfig{Issuer: s.issuer, Project: "x", DevicePrefix: "x-"}
		_, err := zitadel.Setup(t.Context(), zitadel.Admin{AccessToken: "not-a-token"}, config, zitadel.SetupOptions{})
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
		require.NotContains(t, err.Error(), "not-a-token")
		_, err = zitadel.Setup(t.Context(), zitadel.Admin{}, config, zitadel.SetupOptions{})
		require.ErrorIs(t, err, domain.ErrInvalid)
	})
}
