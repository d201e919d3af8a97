package engine

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stampedLog is a container's log as engines keep it: every piece has the time
// that the device's clock showed.
type stampedLog struct {
	mu     sync.Mutex
	pieces []stampedPiece
	sinces int
}

type stampedPiece struct {
	at   time.Time
	text string
}

func (l *stampedLog) write(at time.Time, texts ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range texts {
		l.pieces = append(l.pieces, stampedPiece{at, text})
	}
}

func (l *stampedLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/logs") {
		http.NotFound(w, r)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	pieces := l.pieces
	if r.FormValue("tail") == "0" {
		pieces = nil
	}
	since, _ := strconv.ParseFloat(r.FormValue("since"), 64)
	if since > 0 {
		l.sinces++
	}
	for _, piece := range pieces {
		if float64(piece.at.UnixMicro())/1e6 < since {
			continue
		}
		text := piece.at.Format(time.RFC3339Nano) + " " + piece.text + "\n"
		header := binary.BigEndian.AppendUint32([]byte{1, 0, 0, 0}, uint32(len(text))) //nolint:gosec // a line of a test
		_, _ = w.Write(append(header, text...))
	}
}

// TestPlaceWhereTheClockJumps reads a log in parts between which, or within
// which, the device's clock is set.
func TestPlaceWhereTheClockJumps(t *testing.T) {
	const hour = time.Hour
	type part struct {
		// set is by how much the clock was set since the part before.
		set   time.Duration
		write []string
		// within is by how much it is set after those, and then the others are
		// written, before anything is read.
		within time.Duration
		others []string
		want   string
	}
	for name, parts := range map[string][]part{
		"stands":       {{write: []string{"a", "b"}, want: "a b"}, {want: ""}, {write: []string{"c"}, want: "c"}},
		"forward":      {{write: []string{"a"}, want: "a"}, {set: hour, write: []string{"b"}, want: "b"}, {write: []string{"c"}, want: "c"}},
		"back":         {{write: []string{"a", "b"}, want: "a b"}, {set: -hour, write: []string{"c"}, want: "c"}, {write: []string{"d"}, want: "d"}},
		"back, silent": {{write: []string{"a"}, want: "a"}, {set: -hour, want: ""}, {write: []string{"b"}, want: "b"}},
		"back while read": {
			{write: []string{"a", "b"}, within: -hour, others: []string{"c"}, want: "a b c"},
			{write: []string{"d"}, want: "d"},
			{set: 2 * hour, write: []string{"e"}, want: "e"},
		},
		"forward, then back": {
			{write: []string{"a"}, want: "a"},
			{set: 24 * 365 * hour, write: []string{"b"}, want: "b"},
			{set: -24 * 365 * hour, write: []string{"c"}, want: "c"},
			{write: []string{"d", "e"}, want: "d e"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			log, place := &stampedLog{}, &Place{}
			client := serve(t, docker29, log.ServeHTTP)
			var clock time.Duration
			write := func(texts []string) {
				for _, text := range texts {
					log.write(time.Now().Add(clock), text)
				}
			}
			for i, p := range parts {
				if clock += p.set; !place.read.IsZero() {
					// The test cannot set the host's clock: it moves what was
					// noted the other way, both the stamp and the two times.
					shift(log, place, p.set)
					clock -= p.set
				}
				write(p.write)
				clock += p.within
				write(p.others)
				var out strings.Builder
				require.NoError(t, client.Logs(t.Context(), "id", LogQuery{Tail: -1, Follow: true, Place: place}, &out))
				assert.Equal(t, p.want, strings.Join(strings.Fields(out.String()), " "), "part %d", i)
			}
		})
	}
}

// shift makes it look as if the clock had been set by so much since.
func shift(log *stampedLog, place *Place, by time.Duration) {
	for i := range log.pieces {
		log.pieces[i].at = log.pieces[i].at.Add(-by)
	}
	place.at, place.wall = place.at.Add(-by), place.wall.Add(-by)
}

// TestPlaceWithinAMicrosecond reads on after pieces that a fast service wrote
// closer together than engines can be asked.
func TestPlaceWithinAMicrosecond(t *testing.T) {
	log, place := &stampedLog{}, &Place{}
	client := serve(t, docker29, log.ServeHTTP)
	read := func() string {
		var out strings.Builder
		require.NoError(t, client.Logs(t.Context(), "id", LogQuery{Tail: -1, Follow: true, Place: place}, &out))
		return out.String()
	}
	at := time.Now().Truncate(time.Microsecond)
	log.write(at, "a")
	log.write(at.Add(200*time.Nanosecond), "b", "c")
	require.Equal(t, "a\nb\nc\n", read())
	require.Empty(t, read(), "nothing is shown twice")
	log.write(at.Add(500*time.Nanosecond), "d")
	require.Equal(t, "d\n", read(), "what is new of the same microsecond is not lost")
}

func TestPlaceThatIsNoLongerInTheLog(t *testing.T) {
	log, place := &stampedLog{}, &Place{}
	client := serve(t, docker29, log.ServeHTTP)
	read := func(tail int) string {
		var out strings.Builder
		require.NoError(t, client.Logs(t.Context(), "id", LogQuery{Tail: tail, Follow: true, Place: place}, &out))
		return out.String()
	}
	log.write(time.Now(), "a", "b")
	require.Equal(t, "a\nb\n", read(-1))
	log.pieces = nil // the engine began a new file
	shift(log, place, -time.Hour)
	log.write(time.Now(), "c")
	require.Equal(t, "c\n", read(-1))
}

// Whoever asks for no old lines gets none because a clock was set.
func TestPlaceWhereNothingWasRead(t *testing.T) {
	log, place := &stampedLog{}, &Place{}
	client := serve(t, docker29, log.ServeHTTP)
	var out strings.Builder
	query := LogQuery{Tail: 0, Follow: true, Place: place}
	log.write(time.Now().Add(-3*time.Hour), "old")
	require.NoError(t, client.Logs(t.Context(), "id", query, &out))
	require.Empty(t, out.String())
	shift(log, place, -time.Hour)
	log.write(time.Now(), "new")
	require.NoError(t, client.Logs(t.Context(), "id", query, &out))
	require.Equal(t, "new\n", out.String())
}

// A log is counted through only where a clock was set.
func TestPlaceUsuallyGoesOnByTime(t *testing.T) {
	log, place := &stampedLog{}, &Place{}
	client := serve(t, docker29, log.ServeHTTP)
	for i := range 4 {
		log.write(time.Now(), fmt.Sprint(i))
		require.NoError(t, client.Logs(t.Context(), "id", LogQuery{Tail: -1, Follow: true, Place: place}, io.Discard))
	}
	require.Equal(t, 3, log.sinces)
}
