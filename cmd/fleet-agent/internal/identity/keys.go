package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Keys hold the device's private keys, by name. A key never leaves them: a file,
// or a chip that signs.
type Keys interface {
	// Create makes a P-256 key and returns its name.
	Create() (string, error)
	// Open returns a key that can sign, or an error that wraps fs.ErrNotExist.
	Open(name string) (crypto.Signer, error)
	// Remove forgets a key; one that there is not is forgotten already.
	Remove(name string) error
}

const (
	keyPrefix = "key-"
	keySuffix = ".pem"
	pemType   = "PRIVATE KEY"
	// openToOthers are the permissions that a key file must not have.
	openToOthers = 0o077
)

// FileKeys are keys in files of mode 0600, as PKCS #8 PEM.
type FileKeys struct{ dir string }

var _ Keys = FileKeys{}

// NewFileKeys returns the keys in a directory.
func NewFileKeys(dir string) FileKeys { return FileKeys{dir: dir} }

// Create implements Keys.
func (k FileKeys) Create() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make the device's key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return "", fmt.Errorf("make the device's key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("make the device's key: %w", err)
	}
	sum := sha256.Sum256(public)
	name := keyPrefix + hex.EncodeToString(sum[:8]) + keySuffix
	if err := writeFile(k.dir, name, pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})); err != nil {
		return "", fmt.Errorf("write the device's key: %w", err)
	}
	return name, nil
}

// Open implements Keys. A file that others can read is refused.
func (k FileKeys) Open(name string) (crypto.Signer, error) {
	path, err := k.path(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("the device's key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&openToOthers != 0 {
		return nil, fmt.Errorf("the device's key %s has mode %04o: others on this device can take its identity; run `chmod 600 %s`, or enroll the device anew", path, mode, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the device's key: %w", err)
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, fmt.Errorf("the device's key %s %w", path, err)
	}
	return key, nil
}

// parseKey never quotes what it read.
func parseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemType {
		return nil, errors.New("is not PKCS #8 PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("is not a PKCS #8 key")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("is not an ECDSA P-256 key")
	}
	return key, nil
}

// Remove implements Keys.
func (k FileKeys) Remove(name string) error {
	path, err := k.path(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an old key: %w", err)
	}
	return nil
}

// path refuses names that lead elsewhere.
func (k FileKeys) path(name string) (string, error) {
	if name != filepath.Base(name) || !strings.HasPrefix(name, keyPrefix) || !strings.HasSuffix(name, keySuffix) {
		return "", fmt.Errorf("%q is not the name of a key", name)
	}
	return filepath.Join(k.dir, name), nil
}

// publicPEM is the public half of a key as the fleet takes it.
func publicPEM(key crypto.Signer) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", fmt.Errorf("the device's public key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}
