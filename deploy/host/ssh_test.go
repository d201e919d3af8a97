package host_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/host"
	"github.com/nationtech/harmony-fleet/deploy/host/hosttest"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestRun(t *testing.T) {
	shells := map[string]deploy.Shell{"local": host.Local{}, "ssh": hosttest.Start(t).Host(t)}
	for name, shell := range shells {
		t.Run(name, func(t *testing.T) {
			hard := "it's \"hard\" $HOME `id` \\ \n*"
			result, err := shell.Run(t.Context(), deploy.Script{
				Text: `printf %s "$1"; cat; echo wrong >&2; exit 7`, Args: []string{hard, "x"}, Stdin: strings.NewReader("input"),
			})
			require.NoError(t, err)
			require.Equal(t, deploy.Result{Code: 7, Stdout: hard + "input", Stderr: "wrong\n"}, result)

			_, err = host.Do(t.Context(), shell, deploy.Script{Text: "echo first >&2; echo second >&2; exit 3"})
			require.EqualError(t, err, "the host's command ended with code 3: first; second")

			long, err := shell.Run(t.Context(), deploy.Script{Text: "head -c 3000000 /dev/zero"})
			require.NoError(t, err)
			require.Len(t, long.Stdout, 1<<20, "output is bounded")

			marker := filepath.Join(t.TempDir(), "begun")
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				_, err := shell.Run(ctx, deploy.Script{Text: `echo >"$1"; exec tail -f /dev/null`, Args: []string{marker}})
				ended <- err
			}()
			require.Eventually(t, func() bool { _, err := os.Stat(marker); return err == nil }, time.Minute, 10*time.Millisecond)
			cancel()
			require.ErrorIs(t, <-ended, context.Canceled)
		})
	}
}

func TestScriptsShareAConnection(t *testing.T) {
	server := hosttest.Start(t)
	shell := server.Host(t)
	ended := make(chan error, 8)
	for i := range 8 {
		go func() {
			out, err := host.Do(t.Context(), shell, deploy.Script{Text: `echo "$1"`, Args: []string{fmt.Sprint(i)}})
			if err == nil && strings.TrimSpace(out) != fmt.Sprint(i) {
				err = fmt.Errorf("%q", out)
			}
			ended <- err
		}()
	}
	for range 8 {
		require.NoError(t, <-ended)
	}
	require.Equal(t, 1, server.Dials())
}

func TestHostKeys(t *testing.T) {
	server := hosttest.Start(t)
	other := hosttest.Start(t)
	known := func(content string) string {
		path := filepath.Join(t.TempDir(), "known_hosts")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	line, err := os.ReadFile(server.KnownHosts)
	require.NoError(t, err)
	otherLine, err := os.ReadFile(other.KnownHosts)
	require.NoError(t, err)
	_, otherKey, _ := strings.Cut(string(otherLine), " ")
	name, _, _ := strings.Cut(string(line), " ")

	for _, test := range []struct {
		name   string
		edit   func(*host.Config)
		errors []string
	}{
		{"pinned", func(*host.Config) {}, nil},
		{"the other kind is pinned", func(c *host.Config) { c.HostKey = server.OtherHostKey }, nil},
		{"known", func(c *host.Config) { c.HostKey, c.KnownHosts = "", server.KnownHosts }, nil},
		{"another is pinned", func(c *host.Config) { c.HostKey = other.HostKey }, []string{"shows another key than expected", server.HostKey, other.HostKey + " was pinned"}},
		{"another is known", func(c *host.Config) { c.HostKey, c.KnownHosts = "", known("# keys\n"+name+" "+otherKey) }, []string{"shows another key than expected", "in line 2 of"}},
		{"none is known", func(c *host.Config) { c.HostKey, c.KnownHosts = "", known(string(otherLine)) }, []string{server.HostKey, "is not in"}},
		{"no file", func(c *host.Config) { c.HostKey, c.KnownHosts = "", "/nonexistent/known_hosts" }, []string{"/nonexistent/known_hosts"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := server.Config()
			test.edit(&config)
			shell, err := host.New(config)
			require.NoError(t, err)
			defer func() { require.NoError(t, shell.Close()) }()
			_, err = host.Do(t.Context(), shell, deploy.Script{Text: "true"})
			if test.errors == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, domain.ErrUnauthenticated)
			for _, text := range test.errors {
				require.ErrorContains(t, err, text)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	server, other := hosttest.Start(t), hosttest.Start(t)
	config := server.Config()
	config.KeyFile = other.KeyFile
	_, err := host.Do(t.Context(), open(t, config), deploy.Script{Text: "true"})
	require.ErrorIs(t, err, domain.ErrUnauthenticated)

	config.KeyFile = "/nonexistent/key"
	_, err = host.Do(t.Context(), open(t, config), deploy.Script{Text: "true"})
	require.ErrorIs(t, err, domain.ErrNotFound)

	config.KeyFile = ""
	_, err = host.Do(t.Context(), open(t, config), deploy.Script{Text: "true"})
	require.ErrorContains(t, err, "no key file is named and no SSH agent runs")

	config = server.Config()
	config.Address = "127.0.0.1:1"
	_, err = host.Do(t.Context(), open(t, config), deploy.Script{Text: "true"})
	require.ErrorIs(t, err, domain.ErrUnavailable)

	_, err = host.New(host.Config{})
	require.ErrorIs(t, err, domain.ErrInvalid)
	_, err = host.New(host.Config{Address: "a", HostKey: "SHA256:short"})
	require.ErrorIs(t, err, domain.ErrInvalid)
}

func open(t *testing.T, config host.Config) *host.SSH {
	t.Helper()
	shell, err := host.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, shell.Close()) })
	return shell
}

func TestBrokenConnectionIsMadeAnew(t *testing.T) {
	server := hosttest.Start(t)
	shell := server.Host(t)
	_, err := host.Do(t.Context(), shell, deploy.Script{Text: "true"})
	require.NoError(t, err)
	server.Cut()
	// The first one may notice the break, the next one does not.
	require.Eventually(t, func() bool {
		_, err := host.Do(t.Context(), shell, deploy.Script{Text: "true"})
		if err != nil {
			require.ErrorIs(t, err, domain.ErrUnavailable)
		}
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, 2, server.Dials())
}

func TestKeysOfAnAgent(t *testing.T) {
	server := hosttest.Start(t)
	pem, err := os.ReadFile(server.KeyFile)
	require.NoError(t, err)
	key, err := ssh.ParseRawPrivateKey(pem)
	require.NoError(t, err)
	keyring := agent.NewKeyring()
	require.NoError(t, keyring.Add(agent.AddedKey{PrivateKey: key}))
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = agent.ServeAgent(keyring, conn) // ends with the connection
		}
	})
	config := server.Config()
	config.KeyFile, config.AgentSocket = "", socket
	_, err = host.Do(t.Context(), open(t, config), deploy.Script{Text: "true"})
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	group.Wait()

	_, err = host.Do(t.Context(), open(t, config), deploy.Script{Text: "true"})
	require.ErrorIs(t, err, domain.ErrUnauthenticated)
	require.ErrorContains(t, err, "ask the SSH agent")
}
