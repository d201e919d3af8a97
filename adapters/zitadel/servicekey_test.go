package zitadel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
)

func TestServiceKeyIsReadAndWritten(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	data, err := ServiceKey{UserID: "u", KeyID: "k", Signer: key}.Encode()
	require.NoError(t, err)
	read, err := ParseServiceKey(data)
	require.NoError(t, err)
	require.Equal(t, "u", read.UserID)
	require.Equal(t, "k", read.KeyID)
	require.True(t, key.Equal(read.Signer))
}

// Zitadel's console makes RSA keys in PKCS #1.
func TestServiceKeyOfZitadelsConsole(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	data, err := json.Marshal(map[string]string{"type": "serviceaccount", "keyId": "1", "key": string(block), "expirationDate": "9999-12-31T23:59:59Z", "userId": "2"})
	require.NoError(t, err)
	read, err := ParseServiceKey(data)
	require.NoError(t, err)
	require.True(t, key.Equal(read.Signer))
}

func TestServiceKeyThatIsNone(t *testing.T) {
	for _, data := range []string{
		"", "{}", `{"type":"application","keyId":"1","userId":"2","key":"secret"}`,
		`{"type":"serviceaccount","keyId":"1","userId":"2","key":"secret"}`,
		`{"type":"serviceaccount","keyId":"1","userId":"2","key":"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"}`,
	} {
		_, err := ParseServiceKey([]byte(data))
		require.ErrorIs(t, err, domain.ErrInvalid)
		require.NotContains(t, err.Error(), "secret")
	}
}

func FuzzServiceKey(f *testing.F) {
	f.Add([]byte(`{"type":"serviceaccount","keyId":"1","userId":"2","key":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := ParseServiceKey(data)
		if err != nil {
			require.ErrorIs(t, err, domain.ErrInvalid)
			return
		}
		require.NotNil(t, key.Signer)
		require.NotEmpty(t, key.UserID)
	})
}
