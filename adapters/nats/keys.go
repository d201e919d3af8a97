package nats

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"

	"github.com/nationtech/harmony-fleet/domain"
)

// KeyKind says what an nkey is for.
type KeyKind int

// The kinds of nkeys that a fleet uses.
const (
	// UserKey is that of a user of the broker.
	UserKey KeyKind = iota + 1
	// IssuerKey signs the users that the auth callout admits.
	IssuerKey
	// ExchangeKey encrypts the exchange between broker and auth callout.
	ExchangeKey
)

// EnsureKey returns the public nkey of the seed in a file. A file that does not
// exist is made, with a new seed and for its owner alone, and so is its
// directory.
func EnsureKey(path string, kind KeyKind) (string, error) {
	seed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		seed, err = makeSeed(path, kind)
	}
	if err != nil {
		return "", domain.WrapError(domain.ErrInvalid, err, "nkey seed file")
	}
	public, err := publicKey(seed, kind)
	return public, domain.WrapError(domain.ErrInvalid, err, "nkey seed file %s", path)
}

// PublicKey returns the public nkey of a seed: ErrInvalid when it is none of
// that kind. The error never holds the seed.
func PublicKey(seed []byte, kind KeyKind) (string, error) {
	public, err := publicKey(seed, kind)
	return public, domain.WrapError(domain.ErrInvalid, err, "nkey seed")
}

func publicKey(seed []byte, kind KeyKind) (string, error) {
	pair, err := parseSeed(seed, kind)
	if err != nil {
		return "", err
	}
	defer pair.Wipe()
	return pair.PublicKey()
}

// readKey returns the key pair whose seed is in a file.
func readKey(path string, kind KeyKind) (nkeys.KeyPair, error) {
	seed, err := os.ReadFile(path)
	if err != nil {
		return nil, domain.WrapError(domain.ErrInvalid, err, "nkey seed file")
	}
	pair, err := parseSeed(seed, kind)
	return pair, domain.WrapError(domain.ErrInvalid, err, "nkey seed file %s", path)
}

func makeSeed(path string, kind KeyKind) ([]byte, error) {
	seed, err := NewSeed(kind)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return seed, os.WriteFile(path, seed, 0o600)
}

// NewSeed makes the seed of a new nkey, as the content of its file.
func NewSeed(kind KeyKind) ([]byte, error) {
	makers := map[KeyKind]func() (nkeys.KeyPair, error){
		UserKey: nkeys.CreateUser, IssuerKey: nkeys.CreateAccount, ExchangeKey: nkeys.CreateCurveKeys,
	}
	newPair, ok := makers[kind]
	if !ok {
		return nil, fmt.Errorf("%d is not a kind of nkey", kind)
	}
	pair, err := newPair()
	if err != nil {
		return nil, err
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err != nil {
		return nil, err
	}
	return append(seed, '\n'), nil
}

// parseSeed reads a seed and requires its kind.
func parseSeed(text []byte, kind KeyKind) (nkeys.KeyPair, error) {
	read := func() (nkeys.KeyPair, error) { return nkeys.FromSeed(bytes.TrimSpace(text)) }
	if kind == UserKey {
		read = func() (nkeys.KeyPair, error) { return nkeys.ParseDecoratedUserNKey(text) }
	}
	pair, err := read()
	if err != nil {
		return nil, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	if have := kindOfKey(public); have != kind {
		pair.Wipe()
		return nil, fmt.Errorf("it holds another kind of key: the public key %s", public)
	}
	return pair, nil
}

// IsPublicKey says whether a text is the public nkey of a kind.
func IsPublicKey(text string, kind KeyKind) bool { return kind != 0 && kindOfKey(text) == kind }

func kindOfKey(public string) KeyKind {
	switch nkeys.Prefix(public) {
	case nkeys.PrefixByteUser:
		return UserKey
	case nkeys.PrefixByteAccount:
		return IssuerKey
	case nkeys.PrefixByteCurve:
		return ExchangeKey
	default:
		return 0
	}
}
