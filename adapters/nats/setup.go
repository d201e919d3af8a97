package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/nationtech/harmony-fleet/domain"
)

// SetupOptions say how the fleet's streams shall be.
type SetupOptions struct {
	// Replicas of each stream; zero is one.
	Replicas int
	// Fix updates streams that are not as they should be, where that loses
	// nothing.
	Fix bool
	// Logger is told of differences that are let be; nil for none.
	Logger *slog.Logger
}

// Setup makes the fleet's streams and buckets where they are missing and
// compares them where they exist. It returns ErrInvalid, naming every
// difference, when one of them could lose data or give a device power over
// others; harmless ones are logged. ErrUnsupported when replicas are asked of a
// broker without a cluster. It needs the operator's rights, blocks for
// a few requests per stream, and may be called again at any time.
func Setup(ctx context.Context, conn *Conn, options SetupOptions) error {
	var problems []error
	for _, want := range streamConfigs(max(options.Replicas, 1)) {
		err := setupStream(ctx, conn, want, options)
		if err != nil && !errors.Is(err, domain.ErrInvalid) {
			return err
		}
		if err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func setupStream(ctx context.Context, conn *Conn, want jetstream.StreamConfig, options SetupOptions) error {
	have, err := existingStream(ctx, conn, want)
	if err != nil {
		return setupError(err, "make stream %s", want.Name)
	}
	differences := compareStreams(have, want)
	if options.Fix && slices.ContainsFunc(differences, difference.fixable) {
		for _, d := range differences {
			d.fix(&have)
		}
		stream, err := conn.js.UpdateStream(ctx, have)
		if err != nil {
			return setupError(err, "fix stream %s", want.Name)
		}
		differences = compareStreams(stream.CachedInfo().Config, want)
	}
	var dangerous []error
	for _, d := range differences {
		if d.dangerous() {
			dangerous = append(dangerous, domain.Errorf(domain.ErrInvalid, "stream %s: %s", want.Name, d))
			continue
		}
		orDiscard(options.Logger).Warn("stream is not as it should be",
			slog.String("stream", want.Name), slog.String("difference", d.String()))
	}
	return errors.Join(dangerous...)
}

// setupError is translate for requests about streams: one that the server will
// never grant is ErrInvalid.
func setupError(err error, format string, args ...any) error {
	api, refused := errors.AsType[*jetstream.APIError](err)
	if refused && api.Code == http.StatusBadRequest {
		return domain.WrapError(domain.ErrInvalid, err, format, args...)
	}
	return translate(err, format, args...)
}

// existingStream returns the stream's configuration, making it when missing.
func existingStream(ctx context.Context, conn *Conn, want jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	stream, err := conn.js.Stream(ctx, want.Name)
	if isMissingStream(err) {
		stream, err = conn.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = conn.js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return jetstream.StreamConfig{}, err
	}
	return stream.CachedInfo().Config, nil
}

// difference is one setting of a stream that is not as it should be.
type difference struct {
	setting    string
	have, want any
	// because says what comes of it; set for dangerous ones.
	because string
	// set corrects it in a configuration; nil when the server cannot change it.
	set func(*jetstream.StreamConfig)
}

func (d difference) dangerous() bool { return d.because != "" }
func (d difference) fixable() bool   { return d.set != nil }

func (d difference) fix(config *jetstream.StreamConfig) {
	if d.set != nil {
		d.set(config)
	}
}

func (d difference) String() string {
	text := fmt.Sprintf("%s is %v, must be %v", d.setting, d.have, d.want)
	if d.dangerous() {
		text += ": " + d.because
	}
	if d.fixable() {
		return text + " (it can be corrected in place)"
	}
	return text + " (it cannot be corrected in place: back the stream up, delete it, and let it be made again)"
}

// compareStreams returns how a stream differs from what it should be.
func compareStreams(have, want jetstream.StreamConfig) []difference {
	var found []difference
	check := func(equal bool, d difference) {
		if !equal {
			found = append(found, d)
		}
	}
	type config = jetstream.StreamConfig
	const (
		losesData   = "stored data would be lost"
		lossByOther = "one message could empty or change what belongs to others"
	)
	check(slices.Equal(have.Subjects, want.Subjects), difference{"Subjects", have.Subjects, want.Subjects, "it would store something else", func(c *config) { c.Subjects = want.Subjects }})
	check(have.MaxMsgsPerSubject == want.MaxMsgsPerSubject, difference{"MaxMsgsPerSubject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject, "it would keep too much or too little", func(c *config) { c.MaxMsgsPerSubject = want.MaxMsgsPerSubject }})
	check(have.MaxMsgs == want.MaxMsgs, difference{"MaxMsgs", have.MaxMsgs, want.MaxMsgs, losesData, func(c *config) { c.MaxMsgs = want.MaxMsgs }})
	check(have.MaxAge == want.MaxAge, difference{"MaxAge", have.MaxAge, want.MaxAge, ageDanger(want), func(c *config) { c.MaxAge = want.MaxAge }})
	check(have.MaxBytes == want.MaxBytes, difference{"MaxBytes", have.MaxBytes, want.MaxBytes, "", func(c *config) { c.MaxBytes = want.MaxBytes }})
	check(have.MaxMsgSize == want.MaxMsgSize, difference{"MaxMsgSize", have.MaxMsgSize, want.MaxMsgSize, "", func(c *config) { c.MaxMsgSize = want.MaxMsgSize }})
	check(have.Retention == want.Retention, difference{"Retention", have.Retention, want.Retention, losesData, nil})
	check(have.Discard == want.Discard, difference{"Discard", have.Discard, want.Discard, "", func(c *config) { c.Discard = want.Discard }})
	check(have.Storage == want.Storage, difference{"Storage", have.Storage, want.Storage, storageDanger(want), nil})
	check(have.Replicas == want.Replicas, difference{"Replicas", have.Replicas, want.Replicas, "", changeReplicas(have, want.Replicas)})
	check(have.NoAck == want.NoAck, difference{"NoAck", have.NoAck, want.NoAck, "acknowledgements go to any subject that a sender names", func(c *config) { c.NoAck = want.NoAck }})
	check(have.Duplicates <= want.Duplicates, difference{"Duplicates", have.Duplicates, want.Duplicates, "", func(c *config) { c.Duplicates = want.Duplicates }})
	check(have.DenyDelete == want.DenyDelete, difference{"DenyDelete", have.DenyDelete, want.DenyDelete, "", canDeny(have.DenyDelete, func(c *config) { c.DenyDelete = true })})
	check(have.DenyPurge == want.DenyPurge, difference{"DenyPurge", have.DenyPurge, want.DenyPurge, "what a removed device said could not be forgotten", nil})
	check(!have.AllowRollup, difference{"AllowRollup", have.AllowRollup, false, lossByOther, func(c *config) { c.AllowRollup = false }})
	check(!have.AllowMsgTTL, difference{"AllowMsgTTL", have.AllowMsgTTL, false, "a header could let a message vanish", nil})
	check(!have.AllowMsgSchedules, difference{"AllowMsgSchedules", have.AllowMsgSchedules, false, "a header could publish elsewhere, later", nil})
	check(!have.AllowMsgCounter, difference{"AllowMsgCounter", have.AllowMsgCounter, false, "only counters could be stored", nil})
	check(!have.Sealed, difference{"Sealed", have.Sealed, false, "nothing could be stored", nil})
	check(have.AllowDirect == want.AllowDirect, difference{"AllowDirect", have.AllowDirect, want.AllowDirect, directDanger(want), func(c *config) { c.AllowDirect = want.AllowDirect }})
	check(have.AllowAtomicPublish == want.AllowAtomicPublish, difference{"AllowAtomicPublish", have.AllowAtomicPublish, want.AllowAtomicPublish, "", func(c *config) { c.AllowAtomicPublish = want.AllowAtomicPublish }})
	check(have.PersistMode == want.PersistMode, difference{"PersistMode", have.PersistMode, want.PersistMode, "", nil})
	check(have.Mirror == nil && len(have.Sources) == 0, difference{"Mirror and Sources", "set", "none", "it would hold what others wrote", nil})
	check(have.SubjectTransform == nil, difference{"SubjectTransform", "set", "none", "it would store under other subjects", func(c *config) { c.SubjectTransform = nil }})
	check(sameRePublish(have.RePublish, want.RePublish), difference{"RePublish", showRePublish(have.RePublish), showRePublish(want.RePublish), "devices would not hear of new desired state, or others would", func(c *config) { c.RePublish = want.RePublish }})
	return found
}

func ageDanger(want jetstream.StreamConfig) string {
	if want.MaxAge == 0 {
		return "stored data would be lost"
	}
	return ""
}

func storageDanger(want jetstream.StreamConfig) string {
	if want.Storage == jetstream.FileStorage {
		return "stored data would be lost with the broker's process"
	}
	return ""
}

func directDanger(want jetstream.StreamConfig) string {
	if want.AllowDirect {
		return "the sync service could not read it"
	}
	return ""
}

// canDeny returns set unless the flag is on already: the server never lets a
// deny flag be taken off.
func canDeny(have bool, set func(*jetstream.StreamConfig)) func(*jetstream.StreamConfig) {
	if have {
		return nil
	}
	return set
}

// changeReplicas returns nil where the server refuses replicas for a stream
// that was made without them.
func changeReplicas(have jetstream.StreamConfig, replicas int) func(*jetstream.StreamConfig) {
	if have.PersistMode == jetstream.AsyncPersistMode && replicas > 1 {
		return nil
	}
	return func(c *jetstream.StreamConfig) { c.Replicas = replicas }
}

func sameRePublish(a, b *jetstream.RePublish) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func showRePublish(r *jetstream.RePublish) string {
	if r == nil {
		return "none"
	}
	return cmp.Or(r.Source, ">") + " → " + r.Destination
}
