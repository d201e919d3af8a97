package kube

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
)

// stampRounds take about 50 ms.
const stampRounds = 200_000

// Stamp changes with a secret. It is made for annotations of pods that must start
// anew with it: many can read those, so it is slow to guess a password by.
func Stamp(salt string, secret []byte) (string, error) {
	key, err := pbkdf2.Key(sha256.New, string(secret), []byte(salt), stampRounds, 16)
	return hex.EncodeToString(key), err
}
