// Package identity keeps who this device is: its key, and what the fleet gave it
// for its public half.
package identity

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Files in the directory of a Store.
const (
	identityFile  = "identity.json"
	pendingFile   = "pending.json"
	authorityFile = "broker-ca.pem"
	tokenFile     = "token.json" //nolint:gosec // the file's name
	// maxIdentity bounds the files that are read.
	maxIdentity = 256 << 10
)

// ErrNone means that this device was not enrolled. It wraps fs.ErrNotExist.
var ErrNone = fmt.Errorf("this device has no identity yet: get a token with `fleet enroll create` and run `fleet-agent enroll` (%w)", fs.ErrNotExist)

// Identity is who an enrolled device is.
type Identity struct {
	Device contracts.DeviceID `json:"device"`
	// Key is the name of the private key.
	Key        string                     `json:"key"`
	Credential contracts.DeviceCredential `json:"credential"`
}

// Validate checks names and the credential.
func (i Identity) Validate() error {
	if err := i.Device.Validate(); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	if i.Key == "" {
		return errors.New("key: must not be empty")
	}
	return i.Credential.Validate()
}

// Store is the directory of an identity. Whatever is written is whole or not
// there, also after a power cut.
type Store struct {
	dir  string
	keys Keys
}

// NewStore returns the store in the directory. keys are nil for files in it.
func NewStore(dir string, keys Keys) *Store {
	if keys == nil {
		keys = NewFileKeys(dir)
	}
	return &Store{dir: dir, keys: keys}
}

// TokenCache is where the access token is kept.
func (s *Store) TokenCache() string { return filepath.Join(s.dir, tokenFile) }

// Load returns the identity, or ErrNone.
func (s *Store) Load() (Identity, error) {
	path := filepath.Join(s.dir, identityFile)
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, ErrNone
	}
	if err != nil {
		return Identity{}, fmt.Errorf("the device's identity: %w", err)
	}
	identity, err := decodeIdentity(data)
	if err != nil {
		return Identity{}, fmt.Errorf("the device's identity %s is damaged: %w; enroll the device anew", path, err)
	}
	return identity, nil
}

func decodeIdentity(data []byte) (Identity, error) {
	var identity Identity
	if err := json.Unmarshal(data, &identity); err != nil {
		return Identity{}, errors.New("it is not valid JSON")
	}
	return identity, identity.Validate()
}

// AuthorityFile is the PEM file of the broker's private certificate authority,
// "" when the identity has none.
func (s *Store) AuthorityFile(identity Identity) string {
	if identity.Credential.ServerCA == "" {
		return ""
	}
	return filepath.Join(s.dir, authorityFile)
}

// Key opens the identity's key.
func (s *Store) Key(identity Identity) (crypto.Signer, error) { return s.keys.Open(identity.Key) }

// KeyFile is the path of the identity's key when it is a file.
func (s *Store) KeyFile(identity Identity) string { return filepath.Join(s.dir, identity.Key) }

// Pending is the key of an enrollment that is under way.
type Pending struct {
	Name string
	// PublicKey is PKIX PEM.
	PublicKey string
}

// Pending returns the key of the enrollment under way, made when there is none.
// It stays the same until Commit: a token is for one key.
func (s *Store) Pending() (Pending, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return Pending{}, err
	}
	held, err := s.readPending()
	if err != nil {
		return Pending{}, err
	}
	if held.Key != "" {
		pending, err := s.pending(held.Key)
		if !errors.Is(err, fs.ErrNotExist) {
			return pending, err
		}
	}
	if held.Key, err = s.keys.Create(); err != nil {
		return Pending{}, err
	}
	if err := s.writePending(held); err != nil {
		return Pending{}, err
	}
	return s.pending(held.Key)
}

// pendingRecord is an enrollment that is under way.
type pendingRecord struct {
	Key string `json:"key,omitempty"`
	// Token is set when the fleet asked for it, and nobody will type it again.
	Token string `json:"token,omitempty"`
}

// readPending takes a damaged record for none.
func (s *Store) readPending() (pendingRecord, error) {
	var held pendingRecord
	data, err := readFile(filepath.Join(s.dir, pendingFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pendingRecord{}, err
	}
	if json.Unmarshal(data, &held) != nil {
		return pendingRecord{}, nil
	}
	return held, nil
}

func (s *Store) writePending(held pendingRecord) error {
	data, err := json.Marshal(held)
	if err != nil {
		return err
	}
	return writeFile(s.dir, pendingFile, append(data, '\n'))
}

// KeepToken keeps the token of an enrollment that the fleet asked for, so that it
// goes on after a restart; an empty one is forgotten.
func (s *Store) KeepToken(token string) error {
	held, err := s.readPending()
	if err != nil || held.Token == token {
		return err
	}
	held.Token = token
	return s.writePending(held)
}

// KeptToken returns the token that KeepToken kept, until Commit.
func (s *Store) KeptToken() (string, error) {
	held, err := s.readPending()
	return held.Token, err
}

func (s *Store) pending(name string) (Pending, error) {
	key, err := s.keys.Open(name)
	if err != nil {
		return Pending{}, err
	}
	public, err := publicPEM(key)
	return Pending{Name: name, PublicKey: public}, err
}

// Commit makes a pending key and its credential the device's identity, and
// forgets the one before.
func (s *Store) Commit(identity Identity) error {
	if err := identity.Validate(); err != nil {
		return fmt.Errorf("the credential is not usable: %w", err)
	}
	before, err := s.Load()
	if err != nil && !errors.Is(err, ErrNone) {
		before = Identity{} // damaged: replaced as well
	}
	data, err := json.MarshalIndent(identity, "", "  ")
	if err != nil {
		return err
	}
	if identity.Credential.ServerCA != "" {
		if err := writeFile(s.dir, authorityFile, []byte(identity.Credential.ServerCA)); err != nil {
			return err
		}
	}
	if err := writeFile(s.dir, identityFile, append(data, '\n')); err != nil {
		return err
	}
	if err := removeFile(filepath.Join(s.dir, pendingFile)); err != nil {
		return err
	}
	if before.Key == "" || before.Key == identity.Key {
		return nil
	}
	return s.keys.Remove(before.Key)
}
