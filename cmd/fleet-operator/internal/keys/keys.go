// Package keys makes and reads the fleet's signing key.
package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

const blockType = "PRIVATE KEY"

// Generate makes a new Ed25519 key and writes it to path as PKCS #8 PEM, mode
// 0600. It never overwrites a file: whoever loses the signing key loses the
// fleet's trust in it.
func Generate(path string) (ed25519.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s exists: choose another file, or move it away if the devices no longer trust that key", path)
	}
	if err != nil {
		return nil, fmt.Errorf("write signing key: %w", err)
	}
	err = pem.Encode(file, &pem.Block{Type: blockType, Bytes: der})
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, fmt.Errorf("write signing key %s: %w", path, err)
	}
	return public, nil
}

// Load reads a key that Generate or `openssl genpkey -algorithm ed25519` made.
// A file that others can read is refused. One that belongs to another user may be
// read by its group, since there is no other way to it: Kubernetes mounts Secrets so.
func Load(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no signing key at %s: make one with `fleet-operator keygen %s`", path, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	forbidden := fs.FileMode(0o077)
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int64(stat.Uid) != int64(os.Geteuid()) {
		forbidden = 0o037
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return nil, fmt.Errorf("signing key %s has mode %04o: others can read it; run `chmod 600 %s`", path, mode, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != blockType {
		return nil, fmt.Errorf("signing key %s is not a PKCS #8 PEM file", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("signing key %s is not a PKCS #8 key", path)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("signing key %s is not an Ed25519 key", path)
	}
	return key, nil
}
