package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/nationtech/harmony-fleet/domain"
)

// LogQuery chooses what of a container's output is read.
type LogQuery struct {
	// Tail is how many of the last lines; negative for all.
	Tail int
	// Follow goes on until the container stops.
	Follow bool
	// Place, unless it is nil, is moved on with what is read. A call with one
	// that was moved goes on from there.
	Place *Place
}

// Place is how far a log was read: the time stamp of the last piece, which may
// be as coarse as a second, and how many pieces carry it. Engines end a
// followed log at a time of their own, with or without what the next run of
// the container has written by then.
type Place struct {
	at     time.Time
	pieces int
}

// pass takes in the time of a piece and reports whether it was read before.
// again is how many of those at the place where reading went on are left.
func (p *Place) pass(at time.Time, again *int) bool {
	if *again > 0 && at.Equal(p.at) {
		*again--
		return true
	}
	*again = 0
	if !at.Equal(p.at) {
		p.at, p.pieces = at, 0
	}
	p.pieces++
	return false
}

// Logs writes a container's output to w, standard output and error in the
// order in which they came, and returns nil at its end. It blocks until ctx
// ends when following. The engine may send no header before the first line.
func (c *Client) Logs(ctx context.Context, id string, query LogQuery, w io.Writer) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	values := url.Values{"stdout": {"1"}, "stderr": {"1"}, "tail": {"all"}}
	if query.Tail >= 0 {
		values.Set("tail", strconv.Itoa(query.Tail))
	}
	if query.Follow {
		values.Set("follow", "1")
	}
	if query.Place != nil {
		values.Set("timestamps", "1")
		if query.Place.at.IsZero() {
			query.Place.at = time.Now() // from where to go on if nothing comes
		} else {
			values.Set("since", strconv.FormatFloat(float64(query.Place.at.UnixMicro())/1e6, 'f', 6, 64))
			values.Set("tail", "all")
		}
	}
	response, err := c.send(ctx, http.MethodGet, "/v"+info.API+"/containers/"+escape(id)+"/logs", values, nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	err = demultiplex(w, response.Body, query.Place)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// demultiplex copies the payload of frames: a byte that names the stream,
// three zeroes, four bytes of big-endian length. It holds no frame in memory.
// With a place, frames begin with a time stamp, which is taken off.
func demultiplex(w io.Writer, r io.Reader, place *Place) error {
	buffered := bufio.NewReader(r)
	again := 0
	if place != nil {
		again = place.pieces
	}
	var header [8]byte
	for {
		if _, err := io.ReadFull(buffered, header[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return domain.WrapError(domain.ErrUnavailable, err, "the container engine broke off the log")
		}
		if header[0] > 2 || header[1]|header[2]|header[3] != 0 {
			return domain.Errorf(domain.ErrUnsupported, "the container engine sent a log that is not framed")
		}
		size := int64(binary.BigEndian.Uint32(header[4:]))
		into := w
		if place != nil {
			at, length := timeStamp(buffered, size)
			if length > 0 && place.pass(at, &again) {
				into = io.Discard
			}
			_, _ = buffered.Discard(length)
			size -= int64(length)
		}
		if _, err := io.CopyN(into, buffered, size); errors.Is(err, io.EOF) {
			return domain.WrapError(domain.ErrUnavailable, io.ErrUnexpectedEOF, "the container engine broke off the log")
		} else if err != nil {
			return err
		}
	}
}

// longestStamp is that of RFC 3339 with nanoseconds, a zone and a space.
const longestStamp = 36

// timeStamp returns the time that a frame begins with and its length with the
// space after it, which is 0 when there is none.
func timeStamp(r *bufio.Reader, size int64) (time.Time, int) {
	start, _ := r.Peek(int(min(size, longestStamp)))
	space := bytes.IndexByte(start, ' ')
	if space < 0 {
		return time.Time{}, 0
	}
	at, err := time.Parse(time.RFC3339Nano, string(start[:space]))
	if err != nil {
		return time.Time{}, 0
	}
	return at, space + 1
}
