package nats

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/domain"
)

// A viewer walks through a stream: it has no consumer, and asks for the next
// message again and again. Where messages lie close together it asks for many
// stretches at once, since each answer takes the way to the broker and back.
const (
	// viewPoll is the pause between looks for what is new.
	viewPoll    = time.Second
	viewWorkers = 16
	// A window is so many sequences wide that are walked at once.
	leastWindow = 64
	mostWindow  = 16384
)

// walker is one call of walk.
type walker struct {
	conn   *Conn
	spec   followSpec
	filter string
	// last is the sequence up to which all was seen, and lastAt the time of the
	// message there.
	last   uint64
	lastAt time.Time
	window uint64
}

// walk is Conn.follow for viewers. It never makes a stream, looks for news once a
// second, and the time of a message is the broker's.
func (c *Conn) walk(ctx context.Context, spec followSpec, handle func(stored) error) error {
	w := &walker{conn: c, spec: spec, filter: ">", last: spec.after, window: leastWindow}
	if len(spec.subjects) > 1 {
		return domain.Errorf(domain.ErrUnsupported, "a viewer follows one subject at a time")
	}
	if len(spec.subjects) == 1 {
		w.filter = spec.subjects[0]
	}
	begun := false
	for {
		err := w.look(ctx, !begun, handle)
		final, isFinal := errors.AsType[*finalError](err)
		switch {
		case isFinal:
			return final.cause
		case ctx.Err() != nil:
			return nil
		case err != nil && !begun:
			return translate(err, "read stream %s", spec.stream)
		}
		if err == nil && !begun {
			begun = true
			if spec.caughtUp != nil {
				if err := spec.caughtUp(); err != nil {
					return err
				}
			}
		}
		if !pause(ctx, viewPoll) {
			return nil
		}
	}
}

// look hands over all that there is now after what was seen. At the first look
// those who want the last message of each subject get no other.
func (w *walker) look(ctx context.Context, first bool, handle func(stored) error) error {
	end, err := w.conn.viewed(ctx, w.spec.stream, messageRequest{Last: ">"})
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return err
	}
	// The last message may be gone because it was removed. In a stream that was made
	// again it is newer than what was seen.
	if end.sequence < w.last && end.at.After(w.lastAt) {
		if w.spec.make == nil {
			return &finalError{domain.WrapError(domain.ErrUnavailable, errStreamIsLost, "read stream %s", w.spec.stream)}
		}
		w.last = 0
	}
	latest := map[string]stored{}
	for w.last < end.sequence {
		next, err := w.conn.viewed(ctx, w.spec.stream, w.request(first))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return err
		}
		found, err := w.stretch(ctx, next, end.sequence)
		if err != nil {
			return err
		}
		for _, message := range found {
			message.initial = first
			if first && w.spec.last && w.spec.after == 0 {
				latest[message.subject] = message
				continue
			}
			if err := handle(message); err != nil {
				return &finalError{err}
			}
			w.last = message.sequence
		}
		w.last = max(w.last, found[len(found)-1].sequence)
	}
	for _, message := range slices.SortedFunc(maps.Values(latest), bySequence) {
		if err := handle(message); err != nil {
			return &finalError{err}
		}
	}
	if end.sequence >= w.last {
		w.last, w.lastAt = end.sequence, end.at
	}
	return nil
}

func (w *walker) request(first bool) messageRequest {
	if first && w.last == 0 && !w.spec.since.IsZero() {
		return messageRequest{Next: w.filter, Since: &w.spec.since}
	}
	return messageRequest{Sequence: w.last + 1, Next: w.filter}
}

// stretch returns the messages of one window, which begins with next, in order.
func (w *walker) stretch(ctx context.Context, next stored, end uint64) ([]stored, error) {
	end = min(end, next.sequence+w.window-1)
	parts := make([][]stored, viewWorkers)
	width := max(w.window/viewWorkers, 1)
	group, ctx := errgroup.WithContext(ctx)
	for i := range parts {
		from := next.sequence + 1 + uint64(i)*width
		to := min(from+width-1, end)
		if from > to {
			break
		}
		group.Go(func() (err error) {
			parts[i], err = w.part(ctx, from, to)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	found := slices.Concat(append([][]stored{{next}}, parts...)...)
	if uint64(len(found)) >= w.window/4 {
		w.window = min(2*w.window, mostWindow)
	} else {
		w.window = max(w.window/2, leastWindow)
	}
	return found, nil
}

// part walks from one sequence to another, both included.
func (w *walker) part(ctx context.Context, from, to uint64) ([]stored, error) {
	var found []stored
	for from <= to {
		message, err := w.conn.viewed(ctx, w.spec.stream, messageRequest{Sequence: from, Next: w.filter})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		if message.sequence > to {
			break
		}
		found = append(found, message)
		from = message.sequence + 1
	}
	return found, nil
}

func bySequence(a, b stored) int { return cmp.Compare(a.sequence, b.sequence) }
