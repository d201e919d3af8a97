package devserver

import "github.com/nationtech/harmony-fleet/adapters/nats"

// UserKey returns the public nkey of the seed in a file. A file that does not
// exist is made, with a new seed and for its owner alone, and so is its
// directory.
func UserKey(path string) (string, error) { return nats.EnsureKey(path, nats.UserKey) }
