package engine

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/nationtech/harmony-fleet/domain"
)

// The words of both engines, as they were seen.
func TestText(t *testing.T) {
	const runc = "runc create failed: unable to start container process: "
	for _, test := range []struct {
		name           string
		message, cause string
		is             string
	}{
		{"podman port", "cannot listen on the TCP port: listen tcp4 :18080: bind: address already in use", "address already in use", "port"},
		{"podman rootless port", "rootlessport listen tcp 0.0.0.0:80: bind: address already in use", "", "port"},
		{"podman pasta port", "pasta failed: Failed to bind port 8080 (Address already in use) for option '-t 8080'", "", "port"},
		{"docker port of a process", "driver failed programming external connectivity on endpoint web: Error starting userland proxy: listen tcp4 0.0.0.0:18080: bind: address already in use", "", "port"},
		{"docker port of a container", "driver failed programming external connectivity on endpoint web: Bind for 0.0.0.0:18081 failed: port is already allocated", "", "port"},
		{"podman command", "runc: " + runc + `exec: "/nope": stat /nope: no such file or directory: OCI runtime attempted to invoke a command that was not found`, "OCI runtime attempted to invoke a command that was not found", "command"},
		{"podman crun command", "crun: executable file `nope` not found in $PATH: No such file or directory: OCI runtime attempted to invoke a command that was not found", "OCI runtime attempted to invoke a command that was not found", "command"},
		{"docker command in path", "failed to create shim task: OCI runtime create failed: " + runc + `exec: "nope": executable file not found in $PATH: unknown`, "", "command"},
		{"podman disk", "copying system image from manifest list: writing blob: adding layer with blob: processing tar file(write /padding: no space left on device)", "", "disk"},
		{"docker disk", "failed to register layer: Error processing tar file(exit status 1): write /padding: no space left on device", "", "disk"},
		{"disk quota", "write /var/lib/containers/x: disk quota exceeded", "", "disk"},
		{"another one", "unable to find user nobodyx: no matching entries in passwd file", "no matching entries in passwd file", ""},
		{"not executable", runc + `exec: "/": permission denied: unknown`, "OCI permission denied", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := fmt.Errorf("start: %w", &Error{Status: http.StatusInternalServerError, Message: test.message, Cause: test.cause})
			assert.Equal(t, test.is == "port", PortTaken(err))
			assert.Equal(t, test.is == "command", CommandNotFound(err))
			assert.Equal(t, test.is == "disk", DiskFull(err))
		})
	}
	assert.False(t, DiskFull(errors.New("no space left on device")), "only what an engine says is read")
}

func TestErrorKinds(t *testing.T) {
	for _, test := range []struct {
		err  Error
		kind error
	}{
		{Error{Status: 404}, domain.ErrNotFound},
		{Error{Status: 500, Cause: "no such container"}, domain.ErrNotFound},
		{Error{Status: 500, Cause: "image not known"}, domain.ErrNotFound},
		{Error{Status: 409}, domain.ErrConflict},
		{Error{Status: 400}, domain.ErrInvalid},
		{Error{Status: 401}, domain.ErrUnauthenticated},
		{Error{Status: 403}, domain.ErrPermissionDenied},
		{Error{Status: 503}, domain.ErrUnavailable},
	} {
		assert.ErrorIs(t, &test.err, test.kind)
		assert.Equal(t, domain.KindName(test.kind), domain.KindName(&test.err))
	}
	assert.Equal(t, "Internal", domain.KindName(&Error{Status: 500, Message: "not found"}))
}
