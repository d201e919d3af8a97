// Package contexts keeps named ways to reach a fleet, one file each, so that
// people name a fleet instead of repeating its flags.
package contexts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	extension   = ".json"
	currentLink = "current"
	directory   = "contexts"
)

// Context is one way to reach a fleet. It names files that hold secrets and
// never holds one itself.
type Context struct {
	// Server is the URL of the broker, or several separated by commas.
	Server string `json:"server"`
	// NKeyFile holds an nkey seed.
	NKeyFile string `json:"nkeyFile,omitempty"`
	// User and PasswordFile are used instead of an nkey.
	User         string `json:"user,omitempty"`
	PasswordFile string `json:"passwordFile,omitempty"`
	// AccessTokenFile holds an access token of the fleet's identity provider, and is
	// used instead of an nkey or a user.
	AccessTokenFile string `json:"accessTokenFile,omitempty"`
	// CAFile holds the certificate authorities to trust, in PEM.
	CAFile string `json:"caFile,omitempty"`
	// HeartbeatInterval is that of the fleet's operator, zero for the default.
	// It decides after which silence a device is shown as offline.
	HeartbeatInterval contracts.Duration `json:"heartbeatInterval,omitempty"`
}

// Validate checks the server and that there is one credential at most.
func (c Context) Validate() error {
	if c.Server == "" {
		return &contracts.FieldError{Field: "server", Reason: "must not be empty"}
	}
	for server := range strings.SplitSeq(c.Server, ",") {
		address, err := url.Parse(strings.TrimSpace(server))
		if err != nil || address.Host == "" {
			// The text is not repeated: it may hold a password.
			return &contracts.FieldError{Field: "server", Reason: `must be a URL such as "nats://host:4222" or "tls://host:4222"`}
		}
		if address.User != nil {
			return &contracts.FieldError{Field: "server", Reason: "must not hold a user or a password: use --nkey, --access-token-file, or --user and --password-file"}
		}
	}
	switch {
	case c.NKeyFile != "" && c.User != "":
		return &contracts.FieldError{Field: "user", Reason: "must be empty when there is an nkey file"}
	case c.AccessTokenFile != "" && (c.NKeyFile != "" || c.User != ""):
		return &contracts.FieldError{Field: "accessTokenFile", Reason: "must be empty when there is an nkey file or a user"}
	case (c.User == "") != (c.PasswordFile == ""):
		return &contracts.FieldError{Field: "passwordFile", Reason: "a user needs a password file, and a password file a user"}
	case c.HeartbeatInterval != 0 && (c.HeartbeatInterval.Std() < time.Second || c.HeartbeatInterval.Std() > time.Hour):
		return &contracts.FieldError{Field: "heartbeatInterval", Reason: "must be from 1s to 1h"}
	}
	return nil
}

// Store keeps contexts in <dir>/contexts/<name>.json, and the name of the one
// in use as the link <dir>/current. Files are readable by their owner alone.
type Store struct {
	dir string
}

// NewStore returns the store in dir, which need not exist yet.
func NewStore(dir string) *Store { return &Store{dir: dir} }

// DefaultDir is $XDG_CONFIG_HOME/harmony-fleet, or ~/.config/harmony-fleet.
func DefaultDir(getenv func(string) (string, bool)) (string, error) {
	if config, _ := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(config) {
		return filepath.Join(config, "harmony-fleet"), nil
	}
	home, _ := getenv("HOME")
	if home == "" {
		return "", errors.New("no place for contexts: neither HOME nor XDG_CONFIG_HOME is set")
	}
	return filepath.Join(home, ".config", "harmony-fleet"), nil
}

// Save writes a context, replacing one of that name. ErrInvalid when the name
// or the context does not validate.
func (s *Store) Save(name string, c Context) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "context %q", name)
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("save context %q: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Join(s.dir, directory), 0o700); err != nil {
		return fmt.Errorf("save context %q: %w", name, err)
	}
	if err := replaceFile(s.path(name), append(data, '\n')); err != nil {
		return fmt.Errorf("save context %q: %w", name, err)
	}
	return nil
}

// Load returns a context, or ErrNotFound.
func (s *Store) Load(name string) (Context, error) {
	if err := checkName(name); err != nil {
		return Context{}, err
	}
	data, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return Context{}, domain.Errorf(domain.ErrNotFound, "no context named %q: see `fleet context list`", name)
	}
	if err != nil {
		return Context{}, fmt.Errorf("load context %q: %w", name, err)
	}
	var c Context
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return Context{}, domain.WrapError(domain.ErrInvalid, err, "context file %s", s.path(name))
	}
	return c, domain.WrapError(domain.ErrInvalid, c.Validate(), "context file %s", s.path(name))
}

// Use makes a context the one that is used when none is named, or ErrNotFound.
func (s *Store) Use(name string) error {
	if _, err := s.Load(name); err != nil {
		return err
	}
	link := filepath.Join(s.dir, currentLink)
	temporary := fmt.Sprintf("%s.%d", link, os.Getpid())
	if err := os.Symlink(filepath.Join(directory, name+extension), temporary); err != nil {
		return fmt.Errorf("use context %q: %w", name, err)
	}
	if err := os.Rename(temporary, link); err != nil {
		_ = os.Remove(temporary)
		return fmt.Errorf("use context %q: %w", name, err)
	}
	return nil
}

// Current returns the name of the context in use, "" when there is none.
func (s *Store) Current() (string, error) {
	target, err := os.Readlink(filepath.Join(s.dir, currentLink))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("current context: %w", err)
	}
	return strings.TrimSuffix(filepath.Base(target), extension), nil
}

// List returns the names of all contexts, sorted.
func (s *Store) List() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, directory))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list contexts: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), extension); ok && checkName(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Remove deletes a context; when it is in use, none is afterwards. Nil when
// there is no such context.
func (s *Store) Remove(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	current, err := s.Current()
	if err != nil {
		return err
	}
	if current == name {
		if err := os.Remove(filepath.Join(s.dir, currentLink)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove context %q: %w", name, err)
		}
	}
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove context %q: %w", name, err)
	}
	return nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, directory, name+extension) }

func checkName(name string) error {
	if name == "" || len(name) > 63 || name[0] == '.' || name[0] == '-' ||
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		return domain.Errorf(domain.ErrInvalid, "context name %q must be 1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit", name)
	}
	return nil
}

// replaceFile writes a file of mode 0600 that is either the old or the new one.
func replaceFile(path string, data []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}
