package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
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
	path := "/v" + info.API + "/containers/" + escape(id) + "/logs"
	place := query.Place
	if place == nil {
		return c.copyLog(ctx, path, values, w, nil)
	}
	values.Set("timestamps", "1")
	now := time.Now()
	if place.read.IsZero() {
		place.note(now.Round(0), now) // from where to go on if nothing comes
		return c.copyLog(ctx, path, values, w, place.pass)
	}
	values.Set("tail", "all")
	if since := place.resume(now); !since.IsZero() {
		values.Set("since", strconv.FormatFloat(float64(since.UnixMicro())/1e6, 'f', 6, 64))
		return c.copyLog(ctx, path, values, w, place.pass)
	}
	pass, found := place.finder()
	whole := maps.Clone(values)
	whole.Del("follow")
	if err := c.copyLog(ctx, path, whole, io.Discard, pass); err != nil {
		return err
	}
	place.skip = found()
	return c.copyLog(ctx, path, values, w, place.pass)
}

// copyLog reads a log once. pass is as in demultiplex.
func (c *Client) copyLog(ctx context.Context, path string, values url.Values, w io.Writer, pass func(time.Time) bool) error {
	response, err := c.send(ctx, http.MethodGet, path, values, nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	err = demultiplex(w, response.Body, pass)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// demultiplex copies the payload of frames: a byte that names the stream,
// three zeroes, four bytes of big-endian length. It holds no frame in memory.
// With pass, frames begin with a time stamp, which is taken off and given to
// it; the frames for which it returns true are left out.
func demultiplex(w io.Writer, r io.Reader, pass func(time.Time) bool) error {
	buffered := bufio.NewReader(r)
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
		if pass != nil {
			at, length := timeStamp(buffered, size)
			if length > 0 && pass(at) {
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
