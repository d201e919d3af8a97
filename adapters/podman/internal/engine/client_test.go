package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nationtech/harmony-fleet/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers on a socket as an engine of that version, and with handle.
func serve(t *testing.T, version string, handle http.HandlerFunc) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "engine.sock")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, version) })
	mux.HandleFunc("/", handle)
	server := httptest.NewUnstartedServer(mux)
	server.Listener = listener
	server.Start()
	client := New(func(context.Context) (string, error) { return socket, nil })
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client
}

const docker29 = `{"Version":"29.0.0","ApiVersion":"1.52","MinAPIVersion":"1.44","Components":[{"Name":"Engine"}]}`

// A newer Docker refuses the version that the older ones need.
func TestSpeaksWhatTheEngineServes(t *testing.T) {
	for version, want := range map[string]Info{
		docker29: {Product: Docker, Version: "29.0.0", API: "1.44", LogDriver: "local"},
		`{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}`:                                      {Product: Docker, Version: "20.10.24", API: "1.41", LogDriver: "local"},
		`{"Version":"5.4.0","ApiVersion":"1.41","MinAPIVersion":"1.24","Components":[{"Name":"Podman Engine"}]}`: {Product: Podman, Version: "5.4.0", API: "1.41", LogDriver: "journald"},
	} {
		client := serve(t, version, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/v" + want.API + "/info":
				_, _ = io.WriteString(w, `{"LoggingDriver":"local"}`)
			case "/v4.0.0/libpod/info":
				_, _ = io.WriteString(w, `{"host":{"logDriver":"journald"}}`)
			default:
				http.NotFound(w, r)
			}
		})
		info, err := client.Info(t.Context())
		require.NoError(t, err)
		assert.NotEmpty(t, info.Socket)
		want.Socket = info.Socket
		assert.Equal(t, want, info)
	}
}

func TestEngineThatDoesNotTellItsLogDriver(t *testing.T) {
	client := serve(t, docker29, http.NotFound)
	info, err := client.Info(t.Context())
	require.NoError(t, err)
	assert.Empty(t, info.LogDriver)
}

func TestUnreachable(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	client := New(func(context.Context) (string, error) { return socket, nil })
	_, err := client.Inspect(t.Context(), "x")
	require.ErrorIs(t, err, domain.ErrUnavailable)
	assert.Contains(t, err.Error(), socket)
	assert.NotContains(t, err.Error(), "http://")

	nobody := domain.Errorf(domain.ErrUnavailable, "no engine")
	client = New(func(context.Context) (string, error) { return "", nobody })
	_, err = client.Inspect(t.Context(), "x")
	require.ErrorIs(t, err, nobody)

	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("given up")
	cancel(why)
	_, err = client.Inspect(ctx, "x")
	require.ErrorIs(t, err, why)
	assert.NotErrorIs(t, err, domain.ErrUnavailable)
}

// An engine that accepts and does not answer counts as unavailable in time.
func TestHungEngine(t *testing.T) {
	hung := make(chan struct{})
	client := serve(t, docker29, func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/json") {
			<-hung
		}
	})
	defer close(hung)
	err := client.call(t.Context(), 50*time.Millisecond, http.MethodGet, "/containers/x/json", nil, nil, &Container{})
	require.ErrorIs(t, err, domain.ErrUnavailable)
}

func TestDemultiplex(t *testing.T) {
	frame := func(stream byte, text string) string {
		return string([]byte{stream, 0, 0, 0, 0, 0, byte(len(text) >> 8), byte(len(text))}) + text
	}
	long := strings.Repeat("x", 5000)
	var out bytes.Buffer
	require.NoError(t, demultiplex(&out, strings.NewReader(frame(1, "out\n")+frame(2, "err\n")+frame(1, "")+frame(1, long)), nil))
	assert.Equal(t, "out\nerr\n"+long, out.String())

	out.Reset()
	cut := frame(1, "whole\n") + frame(1, "half")
	require.ErrorIs(t, demultiplex(&out, strings.NewReader(cut[:len(cut)-2]), nil), domain.ErrUnavailable)
	require.ErrorIs(t, demultiplex(&out, strings.NewReader(cut[:10]), nil), domain.ErrUnavailable)
	require.ErrorIs(t, demultiplex(&out, strings.NewReader("a plain line of a terminal\n"), nil), domain.ErrUnsupported)
	require.ErrorIs(t, demultiplex(failingWriter{}, strings.NewReader(cut), nil), io.ErrClosedPipe)
}

// What follows a place was not read before, however coarse the time stamps are.
func TestDemultiplexGoesOn(t *testing.T) {
	frame := func(text string) string { return string([]byte{1, 0, 0, 0, 0, 0, 0, byte(len(text))}) + text }
	const one, two, three = "2026-01-02T03:04:05Z a\n", "2026-01-02T03:04:06Z a\n", "2026-01-02T03:04:06Z b\n"
	place := &Place{}
	read := func(frames ...string) string {
		var out bytes.Buffer
		place.again = place.pieces
		require.NoError(t, demultiplex(&out, strings.NewReader(strings.Join(frames, "")), place.pass))
		return out.String()
	}
	assert.Equal(t, "a\na\n", read(frame(one), frame(two)))
	assert.Equal(t, "b\n", read(frame(two), frame(three)))
	assert.Equal(t, "b\n", read(frame(two), frame(three), frame(three)))
	assert.Equal(t, "a\n", read(frame("2026-01-02T03:04:06.5+02:00 a\n")), "nothing is left out that is not the same")
	assert.Equal(t, "no stamp\n", read(frame("no stamp\n")))
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func FuzzDemultiplex(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 2, 'h', 'i'})
	f.Add([]byte{1, 0, 0, 0, 255, 255, 255, 255, 'h', 'i'})
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		err := demultiplex(&out, bytes.NewReader(data), nil)
		if out.Len() > len(data) || err == nil && len(data) > 0 && out.Len() > len(data)-8 {
			t.Fatalf("%d bytes came out of %d", out.Len(), len(data))
		}
	})
}

func TestPullMessages(t *testing.T) {
	read := func(stream string) ([]PullProgress, error) {
		var seen []PullProgress
		err := readPull(t.Context(), "/images/create", strings.NewReader(stream), func(p PullProgress) { seen = append(seen, p) })
		return seen, err
	}
	seen, err := read(`{"status":"Downloading","id":"aa","progressDetail":{"current":1,"total":2}}` + "\n" + `{"status":"Done","progressDetail":{}}`)
	require.NoError(t, err)
	assert.Equal(t, []PullProgress{{Layer: "aa", Current: 1, Total: 2}, {}}, seen)
	for _, refusal := range []string{`{"error":"manifest unknown"}`, `{"errorDetail":{"message":"manifest unknown"},"error":"x"}`} {
		_, err = read(refusal)
		require.EqualError(t, err, "manifest unknown")
		assert.NotErrorIs(t, err, domain.ErrUnavailable)
	}
	_, err = read(`{"status":`)
	require.ErrorIs(t, err, domain.ErrUnavailable)
}
