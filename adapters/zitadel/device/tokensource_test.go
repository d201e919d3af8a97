package device_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/zitadel/device"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	invalidGrant = `{"error":"invalid_grant","error_description":"invalid assertion"}`
	notActive    = `{"error":"invalid_request","error_description":"Errors.User.NotActive"}`
	notFound     = `{"error":"invalid_request","error_description":"Errors.User.NotFound"}`
)

func TestTokenIsKeptUntilItIsAboutToExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, config := newProvider(t)
		source := open(t, p, config, nil)
		first, err := source.Token(t.Context())
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(lifetime), first.ExpiresAt, 2*time.Second)
		require.Equal(t, []string{"openid urn:zitadel:iam:org:project:id:4711:aud urn:zitadel:iam:org:projects:roles"}, p.scopes)
		pass(lifetime - 2*time.Minute)
		again, err := source.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, first.Value, again.Value)
		require.Equal(t, 1, p.count())
		pass(90 * time.Second)
		next, err := source.Token(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, first.Value, next.Value)
	})
}

func TestConcurrentCallersMakeOneExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, config := newProvider(t)
		p.block = make(chan struct{})
		source := open(t, p, config, nil)
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				_, err := source.Token(t.Context())
				assert.NoError(t, err)
			})
		}
		synctest.Wait() // one of them asks the provider, the others wait for it
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := source.Token(impatient)
		require.ErrorIs(t, err, domain.ErrUnavailable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		close(p.block)
		group.Wait()
		require.Equal(t, 1, p.count())
	})
}

// Each form of the lag after provisioning is asked for again, as long as the key
// has not been seen to work.
func TestLagAfterProvisioning(t *testing.T) {
	for name, form := range map[string]struct {
		status int
		body   string
	}{
		"invalid grant":  {http.StatusBadRequest, invalidGrant},
		"user not found": {http.StatusNotFound, notFound},
		"without a role": {http.StatusOK, answer(0, false, lifetime)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, config := newProvider(t)
				p.answer = func(exchange int) (int, string) {
					if exchange <= 3 {
						return form.status, form.body
					}
					return 0, ""
				}
				source := open(t, p, config, nil)
				_, err := source.Token(t.Context())
				require.NoError(t, err)
				require.Equal(t, 4, p.count())
			})
		})
	}
}

func TestRefusalsHaveAKindAndAWayOut(t *testing.T) {
	for name, c := range map[string]struct {
		status    int
		body      string
		kind      error
		says      string
		exchanges int
	}{
		"key that is gone": {http.StatusBadRequest, invalidGrant, domain.ErrUnauthenticated, "enroll this device again", 6},
		"revoked":          {http.StatusBadRequest, notActive, domain.ErrPermissionDenied, "restored", 1},
		"unknown user":     {http.StatusNotFound, notFound, domain.ErrUnauthenticated, "check the issuer", 6},
		"no role":          {http.StatusOK, answer(0, false, lifetime), domain.ErrPermissionDenied, "grant it one", 6},
		"overload":         {http.StatusTooManyRequests, "slow down", domain.ErrUnavailable, "gave no token", 1},
		"broken server":    {http.StatusInternalServerError, `{"error":"server_error"}`, domain.ErrUnavailable, "server_error", 1},
		"proxy's page":     {http.StatusOK, "<html>", domain.ErrUnavailable, "not that of a token endpoint", 1},
		"redirect":         {http.StatusFound, "", domain.ErrUnavailable, "gave no token", 1},
		"no lifetime":      {http.StatusOK, `{"access_token":"a.b.c"}`, domain.ErrUnavailable, "lifetime", 1},
		"no token":         {http.StatusOK, `{"expires_in":5}`, domain.ErrUnavailable, "empty or malformed", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, config := newProvider(t)
				p.answer = func(int) (int, string) { return c.status, c.body }
				source := open(t, p, config, nil)
				_, err := source.Token(t.Context())
				require.ErrorIs(t, err, c.kind)
				require.ErrorContains(t, err, c.says)
				require.Equal(t, c.exchanges, p.count())
			})
		})
	}
}

// A key that has worked before is taken at the provider's word when refused.
func TestProvenKeyIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, config := newProvider(t)
		source := open(t, p, config, nil)
		_, err := source.Token(t.Context())
		require.NoError(t, err)
		p.answer = func(int) (int, string) { return http.StatusBadRequest, invalidGrant }
		pass(lifetime)
		_, err = source.Token(t.Context())
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
		require.Equal(t, 2, p.count())
	})
}

// A reconnect storm while no token is to be had is no storm of exchanges.
func TestFailuresArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, config := newProvider(t)
		p.down = true
		source := open(t, p, config, nil)
		for range 3600 {
			_, err := source.Token(t.Context())
			require.ErrorIs(t, err, domain.ErrUnavailable)
			pass(time.Second)
		}
		require.Less(t, p.count(), 40)
		p.set(func(p *provider) { p.down = false })
		require.Eventually(t, func() bool {
			_, err := source.Token(t.Context())
			return err == nil
		}, 6*time.Minute, time.Second)
	})
}

func TestValidTokenIsUsedWhileTheProviderIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, config := newProvider(t)
		source := open(t, p, config, nil)
		first, err := source.Token(t.Context())
		require.NoError(t, err)
		p.set(func(p *provider) { p.down = true })
		pass(lifetime - 30*time.Second)
		last, err := source.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, first.Value, last.Value)
		require.Equal(t, 2, p.count(), "it is in its reserve, so that a new one is asked for")
		pass(30 * time.Second)
		_, err = source.Token(t.Context())
		require.ErrorIs(t, err, domain.ErrUnavailable)
	})
}

func TestRunRenewsWellBeforeExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, config := newProvider(t)
		source := open(t, p, config, nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- source.Run(ctx) }()
		synctest.Wait()
		require.Equal(t, 1, p.count(), "it gets the first token")
		first, err := source.Token(ctx)
		require.NoError(t, err)
		pass(lifetime/2 - time.Minute)
		synctest.Wait()
		require.Equal(t, 1, p.count())
		pass(lifetime/4 + 3*time.Minute)
		synctest.Wait()
		require.Equal(t, 2, p.count())
		second, err := source.Token(ctx)
		require.NoError(t, err)
		require.NotEqual(t, first.Value, second.Value)

		// Down through the renewal: the attempts are few, and one succeeds in time.
		p.set(func(p *provider) { p.down = true })
		pass(lifetime * 3 / 4)
		synctest.Wait()
		require.Less(t, p.count(), 180)
		p.set(func(p *provider) { p.down = false })
		pass(6 * time.Minute)
		synctest.Wait()
		third, err := source.Token(ctx)
		require.NoError(t, err)
		require.NotEqual(t, second.Value, third.Value)
		cancel()
		require.NoError(t, <-ended)
	})
}

func TestRefusedTokenIsRenewedOnceAndLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, config := newProvider(t)
		source := open(t, p, config, nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- source.Run(ctx) }()
		synctest.Wait()
		for range 1800 { // a broker that refuses everybody, for an hour
			token, err := source.Token(ctx)
			require.NoError(t, err)
			source.Refused(token.Value)
			pass(2 * time.Second)
		}
		require.Greater(t, p.count(), 1)
		require.Less(t, p.count(), 25)
		cancel()
		require.NoError(t, <-ended)
	})
}

// A device without a battery wakes up in the past, or in the future.
func TestSkewedClock(t *testing.T) {
	for _, ahead := range []time.Duration{26 * 365 * 24 * time.Hour, 61 * time.Minute, 10 * time.Minute, -time.Minute, -48 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, config := newProvider(t)
				p.ahead = ahead
				var logged bytes.Buffer
				source := open(t, p, config, &logged)
				token, err := source.Token(t.Context())
				require.NoError(t, err)
				require.Equal(t, 2, p.count(), "the second with the provider's time")
				require.WithinDuration(t, time.Now().Add(lifetime), token.ExpiresAt, 2*time.Second, "on the device's own clock")
				require.Contains(t, logged.String(), "the clock of this device is wrong")
				require.Contains(t, logged.String(), "timedatectl")
				pass(lifetime)
				_, err = source.Token(t.Context())
				require.NoError(t, err)
				require.Equal(t, 3, p.count(), "the time is known by now")
				require.Equal(t, 1, bytes.Count(logged.Bytes(), []byte("the clock of this device is wrong")), "said once")
			})
		})
	}
}

func TestRefusalWithASkewedClockNamesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, config := newProvider(t)
		p.ahead = 2 * time.Hour
		p.answer = func(int) (int, string) { return http.StatusBadRequest, invalidGrant }
		source := open(t, p, config, nil)
		_, err := source.Token(t.Context())
		require.ErrorIs(t, err, domain.ErrUnauthenticated)
		require.Regexp(t, `^the clock of this device is (2h0m0s|1h59m59s) behind the identity provider`, err.Error())
		require.NotContains(t, err.Error(), "eyJ", "no assertion in an error")
	})
}

func TestCertificateOutsideTheClockNamesTheClock(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	client := server.Client()
	transport, ok := client.Transport.(*http.Transport)
	require.True(t, ok)
	transport.TLSClientConfig.Time = func() time.Time { return time.Now().AddDate(200, 0, 0) }
	_, config := newProvider(t)
	config.Issuer = server.URL
	source, err := device.NewTokenSource(config, device.Options{Client: client})
	require.NoError(t, err)
	_, err = source.Token(t.Context())
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorContains(t, err, "check the clock first")
	client.CloseIdleConnections()
}

func TestConfigThatCannotWork(t *testing.T) {
	_, good := newProvider(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, spoil := range map[string]func(*device.Config){
		"issuer that is no URL":  func(c *device.Config) { c.Issuer = "id.example.com" },
		"issuer with a slash":    func(c *device.Config) { c.Issuer += "/" },
		"issuer with a password": func(c *device.Config) { c.Issuer = "https://a:b@id.example.com" },
		"no project":             func(c *device.Config) { c.ProjectID = "" },
		"no user":                func(c *device.Config) { c.UserID = "" },
		"no key ID":              func(c *device.Config) { c.KeyID = "" },
		"no key":                 func(c *device.Config) { c.Signer = nil },
		"P-384":                  func(c *device.Config) { c.Signer = p384 },
		"Ed25519":                func(c *device.Config) { c.Signer = crypto.Signer(ed) },
	} {
		t.Run(name, func(t *testing.T) {
			config := good
			spoil(&config)
			_, err := device.NewTokenSource(config, device.Options{})
			require.ErrorIs(t, err, domain.ErrInvalid)
		})
	}
}
