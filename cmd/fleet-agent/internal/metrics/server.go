package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// listenRetry is the time between two attempts to listen.
	listenRetry = 30 * time.Second
	// answerTimeout bounds one request.
	answerTimeout = 10 * time.Second
	// socketMode lets the socket's group read.
	socketMode = 0o660
	unixPrefix = "unix:"
)

// CheckAddress accepts "HOST:PORT" and "unix:/PATH".
func CheckAddress(address string) error {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%q names no absolute path: write unix:/PATH", address)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return fmt.Errorf("%q must be HOST:PORT, such as \"127.0.0.1:9464\", or unix:/PATH", address)
	}
	if host == "" {
		return fmt.Errorf("%q names no host: write 127.0.0.1%s, or 0.0.0.0%s for everybody who reaches this device", address, address, address)
	}
	return nil
}

// Server answers GET /metrics on an address.
type Server struct {
	address string
	page    func() string
	log     *slog.Logger
	// Listening is told each address that is listened on; it may be nil.
	Listening func(net.Addr)
}

// NewServer returns a server of the page; CheckAddress accepts the address.
func NewServer(address string, page func() string, log *slog.Logger) *Server {
	return &Server{address: address, page: page, log: log}
}

// Run serves until ctx is cancelled and returns nil. An address that cannot be
// listened on is logged and tried again: workloads matter more.
func (s *Server) Run(ctx context.Context) error {
	for failures := 0; ; failures++ {
		err := s.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if failures == 0 {
			s.log.WarnContext(ctx, "metrics cannot be served; it is tried again", "listen", s.address, "error", err)
		}
		timer := time.NewTimer(listenRetry)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (s *Server) serve(ctx context.Context) error {
	listener, err := s.listen(ctx)
	if err != nil {
		return err
	}
	s.log.InfoContext(ctx, "metrics are served", "listen", listener.Addr().String())
	if s.Listening != nil {
		s.Listening(listener.Addr())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, s.page()) // fails when nobody reads any more
	})
	server := &http.Server{
		Handler: mux, ReadTimeout: answerTimeout, WriteTimeout: answerTimeout, IdleTimeout: time.Minute,
		MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	var closing sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	closing.Go(func() {
		<-ctx.Done()
		_ = server.Close()
	})
	err = server.Serve(listener)
	cancel()
	closing.Wait()
	return err
}

func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	path, isSocket := strings.CutPrefix(s.address, unixPrefix)
	if !isSocket {
		return config.Listen(ctx, "tcp", s.address)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		_ = listener.Close()
		return nil, err
	}
	return listener, nil
}

// removeStale removes a socket that an agent left behind which was killed.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket", path)
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("%s is another program's", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
