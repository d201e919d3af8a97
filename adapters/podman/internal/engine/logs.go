package engine

import (
	"bufio"
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
	// Since leaves out what is older, unless it is zero.
	Since time.Time
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
	if !query.Since.IsZero() {
		values.Set("since", strconv.FormatFloat(float64(query.Since.UnixMicro())/1e6, 'f', 6, 64))
	}
	response, err := c.send(ctx, http.MethodGet, "/v"+info.API+"/containers/"+escape(id)+"/logs", values, nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // read to its end, or given up
	err = demultiplex(w, response.Body)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// demultiplex copies the payload of frames: a byte that names the stream,
// three zeroes, four bytes of big-endian length. It holds no frame in memory.
func demultiplex(w io.Writer, r io.Reader) error {
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
		if _, err := io.CopyN(w, buffered, size); errors.Is(err, io.EOF) {
			return domain.WrapError(domain.ErrUnavailable, io.ErrUnexpectedEOF, "the container engine broke off the log")
		} else if err != nil {
			return err
		}
	}
}
