package zitadeltest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/internal/privatefile"
)

const (
	organizationID   = "100000000000000001"
	organizationName = "Fleet"
	primaryDomain    = "fleet.localhost"
	// apiProject is the project of Zitadel itself, the audience of its API.
	apiProject = "100000000000000002"
	adminUser  = "100000000000000003"
	firstID    = 200_000_000_000_000_000
	stateFile  = "zitadel.json"
	maxState   = 1 << 30
)

// state is all that the emulator knows.
type state struct {
	SigningKey string              `json:"signingKey"`
	AdminToken string              `json:"adminToken"`
	Next       uint64              `json:"next"`
	Users      map[string]*user    `json:"users"`
	Projects   map[string]*project `json:"projects"`
	Grants     []*grant            `json:"grants"`
	// Admins are the roles that users hold in the organization or the instance.
	Admins map[string][]string `json:"admins"`
	// Made says when a role, an application or an administrator was made, by its ID.
	Made map[string]time.Time `json:"made"`

	signing *rsa.PrivateKey
}

type user struct {
	ID           string                 `json:"id"`
	Username     string                 `json:"username"`
	Name         string                 `json:"name"`
	Inactive     bool                   `json:"inactive"`
	JWT          bool                   `json:"jwt"`
	Secret       bool                   `json:"secret"`
	Created      time.Time              `json:"created"`
	Metadata     map[string][]byte      `json:"metadata"`
	Keys         map[string]*credential `json:"keys"`
	AccessTokens map[string]*credential `json:"accessTokens"`
}

// credential is a key or a personal access token.
type credential struct {
	ID      string    `json:"id"`
	Content string    `json:"content"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Removed is set for a while after it was removed.
	Removed time.Time `json:"removed"`
}

func (c *credential) usable(now time.Time) bool { return c.Removed.IsZero() && now.Before(c.Expires) }

type project struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	Roles        map[string]string `json:"roles"`
	Applications map[string]string `json:"applications"`
	Created      time.Time         `json:"created"`
}

type grant struct {
	ID      string    `json:"id"`
	User    string    `json:"user"`
	Project string    `json:"project"`
	Roles   []string  `json:"roles"`
	Created time.Time `json:"created"`
}

// newState is that of a fresh instance.
func newState() (*state, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	s := &state{
		SigningKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		AdminToken: rand.Text(), Next: firstID, signing: key,
		Users: map[string]*user{}, Projects: map[string]*project{}, Admins: map[string][]string{adminUser: {roleInstanceOwner}},
	}
	admin := newUser(adminUser, "zitadel-admin", time.Now())
	admin.AccessTokens["100000000000000004"] = &credential{ID: "100000000000000004", Content: s.AdminToken, Expires: time.Now().AddDate(100, 0, 0)}
	s.Users[adminUser] = admin
	return s, nil
}

func newUser(id, username string, now time.Time) *user {
	return &user{ID: id, Username: username, Created: now, Metadata: map[string][]byte{}, Keys: map[string]*credential{}, AccessTokens: map[string]*credential{}}
}

// loadState reads the state that a directory keeps, or makes one.
func loadState(dir string) (*state, error) {
	if dir == "" {
		return newState()
	}
	data, err := privatefile.Read(filepath.Join(dir, stateFile), maxState)
	if err != nil {
		return nil, err
	}
	if data == nil {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		s, err := newState()
		if err != nil {
			return nil, err
		}
		return s, s.save(dir)
	}
	return decodeState(data)
}

func decodeState(data []byte) (*state, error) {
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("state of the identity provider: %w", err)
	}
	block, _ := pem.Decode([]byte(s.SigningKey))
	if block == nil || s.Users == nil || s.Projects == nil || s.Admins == nil {
		return nil, errors.New("state of the identity provider: it is damaged: remove the directory to begin anew")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("state of the identity provider: %w", err)
	}
	signing, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("state of the identity provider: the signing key is not RSA")
	}
	s.signing = signing
	return &s, nil
}

func (s *state) save(dir string) error {
	if dir == "" {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return privatefile.Write(filepath.Join(dir, stateFile), data)
}

// making notes when something is made.
func (s *state) making(id string) {
	if s.Made == nil {
		s.Made = map[string]time.Time{}
	}
	s.Made[id] = time.Now()
}

func (s *state) newID() string {
	s.Next++
	return strconv.FormatUint(s.Next, 10)
}
