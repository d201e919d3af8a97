package podman

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
	"github.com/nationtech/harmony-fleet/domain"
)

// authFiles returns where credentials are looked for, in order.
func authFiles(named string) []string {
	if named != "" {
		return []string{named}
	}
	var files []string
	if path := os.Getenv("REGISTRY_AUTH_FILE"); path != "" {
		files = append(files, path)
	}
	runtimeDir := os.Getenv("XDG_RUNTIME_DIR")
	if runtimeDir == "" || os.Geteuid() == 0 {
		runtimeDir = filepath.Join("/run/containers", strconv.Itoa(os.Geteuid()))
		files = append(files, filepath.Join(runtimeDir, "auth.json"))
	} else {
		files = append(files, filepath.Join(runtimeDir, "containers", "auth.json"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files,
			filepath.Join(home, ".config", "containers", "auth.json"), filepath.Join(home, ".docker", "config.json"))
	}
	return files
}

// credentials returns those for an image's registry, nil when there are none.
// Files are read at every pull, so that a new login counts at once. Errors
// never hold what is in the file. Credential helpers are not run.
func credentials(files []string, ref reference) (*engine.Credentials, error) {
	for _, path := range files {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, domain.WrapError(domain.ErrInvalid, err, "cannot read registry credentials")
		}
		found, err := parseAuth(data, ref)
		if err != nil {
			return nil, domain.Errorf(domain.ErrInvalid, "registry credentials in %s cannot be read: log in again", path)
		}
		if found != nil {
			return found, nil
		}
	}
	return nil, nil //nolint:nilnil // no credentials is a common answer, not an error
}

// parseAuth returns the credentials under the longest key that fits: the
// repository, a part of its path, or the registry.
func parseAuth(data []byte, ref reference) (*engine.Credentials, error) {
	var file struct {
		Auths map[string]struct {
			Auth          string `json:"auth"`
			IdentityToken string `json:"identitytoken"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, errMalformedAuth
	}
	for _, key := range authKeys(ref) {
		entry, ok := file.Auths[key]
		if !ok || entry.Auth == "" && entry.IdentityToken == "" {
			continue
		}
		found := &engine.Credentials{IdentityToken: entry.IdentityToken, ServerAddress: ref.registry}
		if entry.Auth != "" {
			decoded, err := base64.StdEncoding.DecodeString(entry.Auth)
			user, password, ok := strings.Cut(string(decoded), ":")
			if err != nil || !ok {
				return nil, errMalformedAuth
			}
			found.Username, found.Password = user, strings.TrimRight(password, "\x00")
		}
		return found, nil
	}
	return nil, nil //nolint:nilnil // see credentials
}

var errMalformedAuth = errors.New("malformed")

func authKeys(ref reference) []string {
	var keys []string
	for key := ref.repository(); key != "."; key = filepath.Dir(key) {
		keys = append(keys, key)
	}
	keys = append(keys, "https://"+ref.registry, "https://"+ref.registry+"/v2/", "https://"+ref.registry+"/v1/")
	if ref.registry == "docker.io" {
		keys = append(keys, "https://index.docker.io/v1/", "index.docker.io")
	}
	return keys
}
