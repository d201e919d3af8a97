package kube_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
)

// interrupt leaves the release as a killed Helm does: with a revision that is
// pending for good.
func interrupt(t *testing.T, f *fixture, status release.Status) {
	t.Helper()
	records := driver.NewSecrets(f.client.CoreV1().Secrets(f.namespace))
	records.Log = func(string, ...any) {}
	releases := storage.Init(records)
	last, err := releases.Last("web")
	require.NoError(t, err)
	next := *last
	info := *last.Info
	info.Status = status
	next.Info, next.Version = &info, last.Version+1
	require.NoError(t, releases.Create(&next))
}
