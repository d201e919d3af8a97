package device

import (
	"encoding/json"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/internal/privatefile"
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
	data, err := privatefile.Read(path, maxCache)
	if err != nil || data == nil {
		return cached{}, false, err
	}
	entry, err := decodeCache(data)
	return entry, err == nil, err
}

// writeCache replaces the file.
func writeCache(path string, entry cached) error {
	data, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	return privatefile.Write(path, data)
}
