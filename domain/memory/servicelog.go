package memory

import (
	"io"
	"strings"
	"sync"

	"github.com/nationtech/harmony-fleet/domain"
)

// keptLog bounds the log of one service, in bytes.
const keptLog = 256 << 10

// serviceLog is the end of what a service wrote.
type serviceLog struct {
	mu   sync.Mutex
	text string
	// start is the place of text in the whole log.
	start int
	// closed says that the service is gone and nothing more will come.
	closed bool
	bells  bells
}

func newServiceLog() *serviceLog { return &serviceLog{bells: bells{}} }

func (l *serviceLog) write(text string) {
	if text == "" {
		return
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += text
	if drop := len(l.text) - keptLog; drop > 0 {
		l.text = strings.Clone(l.text[drop:])
		l.start += drop
	}
	l.bells.ring()
}

func (l *serviceLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.bells.ring()
}

// open returns a reader that begins with the last lines, or with all of them
// when tail is negative. Without follow it ends where the log ends now.
func (l *serviceLog) open(query domain.LogQuery, cancelled <-chan struct{}) io.ReadCloser {
	l.mu.Lock()
	defer l.mu.Unlock()
	reader := &logReader{log: l, cancelled: cancelled, closed: make(chan struct{}), bell: make(chan struct{}, 1)}
	reader.at = l.start + lastLines(l.text, query.Tail)
	reader.end = l.start + len(l.text)
	reader.follow = query.Follow
	l.bells.add(reader.bell)
	return reader
}

// lastLines returns where the last lines of text begin.
func lastLines(text string, lines int) int {
	if lines < 0 {
		return 0
	}
	at := len(text)
	for range lines {
		if at == 0 {
			return 0
		}
		at = strings.LastIndexByte(text[:at-1], '\n') + 1
	}
	return at
}

// logReader reads a log; one goroutine reads, another may close.
type logReader struct {
	log       *serviceLog
	at, end   int
	follow    bool
	bell      chan struct{}
	cancelled <-chan struct{}
	closed    chan struct{}
	closeOnce sync.Once
}

// Read blocks for more when it follows the log.
func (r *logReader) Read(p []byte) (int, error) {
	for {
		select {
		case <-r.closed:
			return 0, io.ErrClosedPipe
		default:
		}
		n, err := r.read(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		select {
		case <-r.bell:
		case <-r.closed:
		case <-r.cancelled:
			return 0, io.EOF
		}
	}
}

func (r *logReader) read(p []byte) (int, error) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.at = max(r.at, r.log.start)
	end := r.log.start + len(r.log.text)
	if !r.follow {
		end = min(end, r.end)
	}
	if r.at < end {
		n := copy(p, r.log.text[r.at-r.log.start:end-r.log.start])
		r.at += n
		return n, nil
	}
	if !r.follow || r.log.closed {
		return 0, io.EOF
	}
	return 0, nil
}

// Close ends the reading.
func (r *logReader) Close() error {
	r.closeOnce.Do(func() {
		close(r.closed)
		r.log.mu.Lock()
		defer r.log.mu.Unlock()
		delete(r.log.bells, r.bell)
	})
	return nil
}
