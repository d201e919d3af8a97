package nats

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nationtech/harmony-fleet/domain"
)

// bucket is a key-value bucket that is opened when first used.
type bucket struct {
	conn *Conn
	name string

	mu sync.Mutex
	kv jetstream.KeyValue
}

func newBucket(conn *Conn, name string) *bucket { return &bucket{conn: conn, name: name} }

// open returns the bucket: ErrPermissionDenied for a viewer. One that is missing
// means that the operator never ran here: that is not a key that is missing.
func (b *bucket) open(ctx context.Context) (jetstream.KeyValue, error) {
	if err := b.conn.refuseViewer("change it"); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kv != nil {
		return b.kv, nil
	}
	kv, err := b.conn.js.KeyValue(ctx, b.name)
	if isMissingStream(err) {
		return nil, missingBucket(b.name, err)
	}
	if err != nil {
		return nil, translate(err, "open bucket %q", b.name)
	}
	b.kv = kv
	return kv, nil
}

func missingBucket(name string, cause error) error {
	return domain.WrapError(domain.ErrUnavailable, cause, "bucket %q does not exist: start the operator once, it makes it", name)
}

// get returns the value and its revision, or ErrNotFound.
func (b *bucket) get(ctx context.Context, key string) ([]byte, domain.Revision, error) {
	if b.conn.viewing {
		return b.conn.viewedKey(ctx, b.name, key)
	}
	kv, err := b.open(ctx)
	if err != nil {
		return nil, 0, err
	}
	entry, err := kv.Get(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	return entry.Value(), domain.Revision(entry.Revision()), nil
}

// create stores a value under a key that holds none, a deleted one included:
// ErrAlreadyExists otherwise.
func (b *bucket) create(ctx context.Context, key string, value []byte) (domain.Revision, error) {
	kv, err := b.open(ctx)
	if err != nil {
		return 0, err
	}
	revision, err := kv.Create(ctx, key, value)
	if isWrongRevision(err) {
		return 0, domain.WrapError(domain.ErrAlreadyExists, err, "it exists already")
	}
	return domain.Revision(revision), err
}

// put stores a value whatever is there.
func (b *bucket) put(ctx context.Context, key string, value []byte) error {
	kv, err := b.open(ctx)
	if err != nil {
		return err
	}
	_, err = kv.Put(ctx, key, value)
	return err
}

// update replaces the value of the given revision: ErrConflict, or ErrNotFound
// when the key holds nothing.
func (b *bucket) update(ctx context.Context, key string, value []byte, revision domain.Revision) (domain.Revision, error) {
	if err := b.expect(ctx, key, revision); err != nil {
		return 0, err
	}
	return b.replace(ctx, key, value, revision)
}

// replace stores a value if the last revision of the key, a deletion's
// included, is the given one.
func (b *bucket) replace(ctx context.Context, key string, value []byte, revision domain.Revision) (domain.Revision, error) {
	kv, err := b.open(ctx)
	if err != nil {
		return 0, err
	}
	stored, err := kv.Update(ctx, key, value, uint64(revision))
	return domain.Revision(stored), err
}

// remove deletes the value of the given revision, with the errors of update.
func (b *bucket) remove(ctx context.Context, key string, revision domain.Revision) error {
	if err := b.expect(ctx, key, revision); err != nil {
		return err
	}
	kv, err := b.open(ctx)
	if err != nil {
		return err
	}
	return kv.Delete(ctx, key, jetstream.LastRevision(uint64(revision)))
}

// expect returns nil when the key holds the given revision. The write that
// follows is guarded by the revision; this tells a key that holds nothing from
// one that holds something else, which the server's answer does not.
func (b *bucket) expect(ctx context.Context, key string, revision domain.Revision) error {
	_, stored, err := b.get(ctx, key)
	if err != nil {
		return err
	}
	if stored != revision {
		return domain.Errorf(domain.ErrConflict, "revision %d is stored, not %d: read it again", stored, revision)
	}
	return nil
}

// delete removes whatever the key holds.
func (b *bucket) delete(ctx context.Context, key string) error {
	kv, err := b.open(ctx)
	if err != nil {
		return err
	}
	if _, err := kv.Get(ctx, key); errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	return kv.Delete(ctx, key)
}

// history returns all that is kept of one key, deletions included, oldest
// first.
func (b *bucket) history(ctx context.Context, key string) ([]stored, error) {
	var all []stored
	err := b.conn.follow(ctx, followSpec{
		stream:   bucketStream(b.name),
		subjects: []string{keySubject(b.name, key)},
		caughtUp: func() error { return errCaughtUp },
	}, func(message stored) error {
		all = append(all, message)
		return nil
	})
	return all, caughtUpOr(ctx, err)
}

// errCaughtUp ends a following that only wanted what is stored.
var errCaughtUp = errors.New("caught up")

// caughtUpOr tells a following that saw everything from one that was cut short.
func caughtUpOr(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errCaughtUp):
		return nil
	case err == nil && ctx.Err() != nil:
		return domain.WrapError(domain.ErrUnavailable, ctx.Err(), "reading was cut short")
	default:
		return err
	}
}

// isDeletion reports whether a message of a bucket marks a deletion.
func isDeletion(header nats.Header) bool {
	switch header.Get("KV-Operation") {
	case "DEL", "PURGE":
		return true
	default:
		return header.Get("Nats-Marker-Reason") != ""
	}
}

// watchBucket is the Watch of every bucket; see domain.Change for the protocol.
// A value that does not decode is logged and left out, so that one bad record
// does not hide the others, and is not taken for a deletion.
func watchBucket[K ~string, V any](ctx context.Context, b *bucket, after domain.Revision,
	decode func(data []byte, revision domain.Revision) (V, error), handle func(domain.Change[K, V]) error,
) error {
	prefix := keySubject(b.name, "")
	spec := followSpec{
		stream: bucketStream(b.name),
		after:  uint64(after),
		last:   true,
		caughtUp: func() error {
			return handle(domain.Change[K, V]{Kind: domain.ChangeCaughtUp})
		},
	}
	return b.conn.follow(ctx, spec, func(message stored) error {
		change := domain.Change[K, V]{
			Key:      K(strings.TrimPrefix(message.subject, prefix)),
			Revision: domain.Revision(message.sequence),
		}
		if isDeletion(message.header) {
			if message.initial && after == 0 {
				return nil
			}
			change.Kind = domain.ChangeDeleted
			return handle(change)
		}
		value, err := decode(message.data, change.Revision)
		if err != nil {
			b.conn.log.Warn("stored record does not decode and is left out",
				slog.String("bucket", b.name), slog.String("key", string(change.Key)), slog.String("error", err.Error()))
			return nil
		}
		change.Kind, change.Value = domain.ChangePut, value
		return handle(change)
	})
}
