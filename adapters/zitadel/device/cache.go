package device

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// maxCache bounds the cache file.
const maxCache = 64 << 10

// cached is a token as it is kept on disk, with whom it belongs to. Times are the
// provider's.
type cached struct {
	Issuer     string    `json:"issuer"`
	ProjectID  string    `json:"projectID"`
	UserID     string    `json:"userID"`
	KeyID      string    `json:"keyID"`
	Token      string    `json:"token"`
	ObtainedAt time.Time `json:"obtainedAt"`
	ExpiresAt  time.Time `json:"expiresAt"`
}

// decodeCache reads a cache file: ErrInvalid when it holds no token that can be
// used.
func decodeCache(data []byte) (cached, error) {
	var entry cached
	if len(data) > maxCache {
		return cached{}, domain.Errorf(domain.ErrInvalid, "the token cache is larger than %d bytes", maxCache)
	}
	if err := json.Unmarshal(data, &entry); err != nil {
		return cached{}, domain.Errorf(domain.ErrInvalid, "the token cache is damaged") // the cause could quote the token
	}
	lifetime := entry.ExpiresAt.Sub(entry.ObtainedAt)
	if !plausible(entry.Token) || lifetime <= 0 || lifetime > maxExpiresIn*time.Second {
		return cached{}, domain.Errorf(domain.ErrInvalid, "the token cache holds no usable token")
	}
	return entry, nil
}

// readCache returns false when there is no file.
func readCache(path string) (cached, bool, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return cached{}, false, nil
	}
	if err != nil {
		return cached{}, false, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxCache+1))
	if err != nil {
		return cached{}, false, err
	}
	entry, err := decodeCache(data)
	return entry, err == nil, err
}

// writeCache replaces the file, which only its owner can read. When it fails, or
// the host does, the old content or the new one is there.
func writeCache(path string, entry cached) (err error) {
	data, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".writing-token-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary.Name()))
		}
	}()
	_, err = temporary.Write(data)
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
