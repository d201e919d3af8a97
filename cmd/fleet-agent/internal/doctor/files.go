package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/config"
	"github.com/nationtech/harmony-fleet/cmd/fleet-agent/internal/local"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

const (
	othersWrite = 0o022
	othersRead  = 0o044
	others      = 0o077

	mebibyte   = 1 << 20
	failBelow  = 50 * mebibyte
	warnBelow  = 500 * mebibyte
	warnShare  = 10 // percent
	runAsAgent = "run this as the agent's user or root"
)

func checkConfigMode(path string, c config.Config) Check {
	const name = "configuration"
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fail(name, err.Error(), "make the file readable")
	case mode(info)&othersWrite != 0:
		return fail(name, fmt.Sprintf("%s has mode %04o: others can change whom this device obeys", path, mode(info)), "chmod go-w "+path)
	case mode(info)&othersRead != 0 && holdsPassword(c.Broker):
		return warn(name, fmt.Sprintf("%s has mode %04o, and a URL in it holds a password", path, mode(info)),
			"chmod 600 "+path+", or use broker.password_file")
	}
	return ok(name, "%s is valid for device %s, mode %04o", path, c.Device, mode(info))
}

func holdsPassword(broker config.Broker) bool {
	for _, server := range broker.Servers {
		if parsed, err := url.Parse(server); err == nil && parsed.User != nil {
			return true
		}
	}
	return false
}

func checkCredential(c config.Config, now time.Time) Check {
	const name = "credential"
	if c.Identity != nil {
		return checkIdentity(c, now)
	}
	broker := c.Broker
	path := broker.NKeyFile
	if path == "" {
		path = broker.PasswordFile
	}
	if path == "" {
		if holdsPassword(broker) {
			return ok(name, "in the URL of the broker")
		}
		return warn(name, "none is configured", "set broker.nkey_file, unless the broker takes everybody")
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(name, "there is no file "+path, "copy the device's credential there, with mode 0600")
	case err != nil:
		return fail(name, err.Error(), "make it readable by the agent's user; "+runAsAgent)
	case strings.TrimSpace(string(data)) == "":
		return fail(name, path+" is empty", "copy the device's credential there again")
	case broker.NKeyFile != "" && !holdsSeed(string(data)):
		return fail(name, path+" holds no seed of a user (SU…)", "copy the device's nkey seed there again")
	}
	info, err := os.Stat(path)
	if err != nil {
		return fail(name, err.Error(), "make it readable by the agent's user")
	}
	if mode(info)&others != 0 {
		return warn(name, fmt.Sprintf("%s has mode %04o: others on this device can take its identity", path, mode(info)), "chmod 600 "+path)
	}
	return ok(name, "%s has mode %04o", path, mode(info))
}

// seedLength is the number of characters of an nkey seed.
const seedLength = 58

func holdsSeed(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "SU") && len(line) == seedLength {
			return true
		}
	}
	return false
}

func checkStateDir(dir string) Check {
	const name = "state directory"
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return warn(name, "there is no "+dir+" yet", "start the daemon: it makes it")
	case err != nil:
		return fail(name, err.Error(), runAsAgent)
	case !info.IsDir():
		return fail(name, dir+" is not a directory", "remove it or set another state_dir")
	}
	if err := tryWrite(dir); err != nil {
		return fail(name, "cannot be written: "+err.Error(), "check its owner, and that the disk is neither full nor read-only; "+runAsAgent)
	}
	if mode(info)&others != 0 {
		return warn(name, fmt.Sprintf("%s has mode %04o: others on this device can look into it", dir, mode(info)), "chmod 700 "+dir)
	}
	return ok(name, "%s can be written, mode %04o", dir, mode(info))
}

func tryWrite(dir string) error {
	file, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	_, err = file.WriteString("doctor")
	return errors.Join(err, file.Close(), os.Remove(file.Name()))
}

func checkSpace(dir string, space func(string) (uint64, uint64, error)) Check {
	const name = "disk space"
	free, total, err := space(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return warn(name, "there is no "+dir+" yet", "start the daemon: it makes it")
	}
	if err != nil {
		return fail(name, err.Error(), "check the disk")
	}
	found := fmt.Sprintf("%d MiB of %d MiB free at %s", free/mebibyte, total/mebibyte, dir)
	const next = "remove what is not needed; images and logs are large"
	switch {
	case free < failBelow:
		return fail(name, found, next)
	case free < warnBelow || free < total/100*warnShare:
		return warn(name, found, next)
	}
	return ok(name, "%s", found)
}

func space(dir string) (free, total uint64, err error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	block := uint64(max(stat.Bsize, 0)) //nolint:gosec // not negative
	return stat.Bavail * block, stat.Blocks * block, nil
}

func checkDesired(c config.Config, dir string) Check {
	const name = "desired state"
	keys, err := c.TrustedKeys()
	if err != nil {
		return fail(name, err.Error(), "correct signing_keys in the configuration")
	}
	desired, err := local.ReadDesired(dir, agent.Identity{Device: c.Device, TrustedKeys: keys})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return warn(name, "none on disk: after a restart without network nothing would run", "connect the device to its broker once")
	case errors.Is(err, fs.ErrPermission):
		return fail(name, err.Error(), runAsAgent)
	case errors.Is(err, contracts.ErrUnknownKey):
		return fail(name, err.Error(), "pin the fleet's key in signing_keys (`fleet-operator keygen` printed it), or have it signed with a pinned one")
	case err != nil:
		return fail(name, err.Error(), "check the disk; the daemon gets it anew when it is connected")
	}
	return ok(name, "generation %d with %d deployments, signed by pinned key %s", desired.Generation, len(desired.Deployments), desired.KeyID)
}
