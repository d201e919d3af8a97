package process

import (
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
)

func TestStorageErrorNamesAFullDisk(t *testing.T) {
	for cause, reason := range map[error]contracts.Reason{
		syscall.ENOSPC: contracts.ReasonDiskFull,
		syscall.EDQUOT: contracts.ReasonDiskFull,
		syscall.EROFS:  contracts.ReasonStartFailed,
	} {
		err := storageError("web", fmt.Errorf("write record: %w", &fs.PathError{Op: "write", Path: "/x", Err: cause}))
		require.ErrorIs(t, err, cause)
		require.Equal(t, reason, asFailure(err).Reason)
	}
}

func TestFailuresOfManyServicesAreOne(t *testing.T) {
	var failures failureList
	require.NoError(t, failures.err())
	failures.add(nil)
	require.NoError(t, failures.err())
	for _, name := range []string{"e", "d", "c", "b", "a"} {
		failures.add(startError(name, contracts.ReasonStartFailed, syscall.EPERM, "why"))
	}
	err := failures.err()
	require.ErrorIs(t, err, syscall.EPERM)
	require.Equal(t, `StartFailed: service "a" did not start: why; service "b" did not start: why; service "c" did not start: why; and 2 more`, err.Error())
}
