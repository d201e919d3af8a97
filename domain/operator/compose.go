package operator

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strconv"
	"time"
	"unique"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// composer writes, signs and reads desired-state documents. It never changes
// and is safe for concurrent use.
//
// Documents are put together from prepared pieces. Their bytes are exactly
// those of contracts.Encode, so that equal contents have equal hashes whoever
// wrote them.
type composer struct {
	key   ed25519.PrivateKey
	keyID string
	// tail follows the deployments; it is the same in every document.
	tail []byte
}

func newComposer(key ed25519.PrivateKey, agentVersion string, heartbeat time.Duration) *composer {
	public, _ := key.Public().(ed25519.PublicKey)
	tail := []byte(`]`)
	if agentVersion != "" {
		tail = append(append(append(tail, `,"agentVersion":"`...), agentVersion...), '"')
	}
	tail = append(append(append(tail, `,"heartbeatInterval":"`...), heartbeat.String()...), `"}`...)
	return &composer{key: key, keyID: contracts.KeyID(public), tail: tail}
}

// maxEntries is the most deployments in a document that contracts accepts.
const maxEntries = 256

// draft is a document whose generation is not decided yet.
type draft struct {
	// text is the document without its generation, which belongs at split.
	text    []byte
	split   int
	entries []assignment
	// failures are the deployments that could not be given as assigned.
	failures []failure
}

// failure is why one deployment is not what was assigned on one device.
type failure struct {
	name    nameHandle
	message string
}

// begin starts the document of one device, in a buffer that is the draft's
// until it is signed.
func begin(buffer []byte, id contracts.DeviceID) *draft {
	d := &draft{text: buffer[:0]}
	d.text = append(append(append(d.text, `{"device":"`...), id...), `",`...)
	d.split = len(d.text)
	d.text = append(d.text, `"deployments":[`...)
	return d
}

// add appends one entry by the given function; when that fails, the document
// is as before.
func (d *draft) add(name nameHandle, generation uint64, write func([]byte) ([]byte, error)) error {
	before := len(d.text)
	if len(d.entries) > 0 {
		d.text = append(d.text, ',')
	}
	text, err := write(d.text)
	if err != nil {
		d.text = d.text[:before]
		return err
	}
	d.text = text
	d.entries = append(d.entries, assignment{name: name, generation: generation})
	return nil
}

// end completes the document and returns the hash of its content.
func (c *composer) end(d *draft) [16]byte {
	d.text = append(d.text, c.tail...)
	return hashContent(d.text)
}

func hashContent(text []byte) [16]byte {
	sum := sha256.Sum256(text)
	return [16]byte(sum[:16])
}

// check returns why no device could read the document.
func (d *draft) check() error {
	if len(d.entries) > maxEntries {
		return domain.Errorf(domain.ErrInvalid, "%d deployments match the device, at most %d fit into its desired state", len(d.entries), maxEntries)
	}
	const generation = len(`"generation":9007199254740991,`)
	if size := len(d.text) + generation; size > contracts.MaxDocumentBytes {
		return domain.Errorf(domain.ErrInvalid, "the device's desired state has %d bytes, at most %d are allowed: use fewer or smaller deployments", size, contracts.MaxDocumentBytes)
	}
	return nil
}

// complete returns the document with its generation, in the given buffer, which
// it grows when it must.
func (d *draft) complete(buffer []byte, generation uint64) []byte {
	buffer = append(buffer[:0], d.text[:d.split]...)
	buffer = appendGeneration(buffer, generation)
	return append(buffer, d.text[d.split:]...)
}

// sign returns the signed envelope and the name of the document in it.
func (c *composer) sign(document []byte) ([]byte, digest) {
	return contracts.SignAs(document, c.keyID, c.key), parseDigest(contracts.DocumentDigest(document))
}

func appendGeneration(out []byte, generation uint64) []byte {
	out = append(out, `"generation":`...)
	return append(strconv.AppendUint(out, generation, 10), ',')
}

// document is a stored document that was read and verified.
type document struct {
	record record
	text   json.RawMessage
}

// read verifies a stored document. The error says why it cannot be trusted:
// then nothing of it counts but its revision.
func (c *composer) read(stored domain.DesiredDocument) (document, error) {
	signed, err := contracts.Decode[contracts.Signed](stored.Envelope)
	if err != nil {
		return document{}, err
	}
	// Ed25519 signatures are deterministic: signing again proves as much as
	// verifying, in half the time, and a fleet has many documents.
	if !bytes.Equal(contracts.SignAs(signed.Document, c.keyID, c.key), stored.Envelope) {
		return document{}, contracts.ErrBadSignature
	}
	state, err := contracts.Decode[contracts.DesiredState](signed.Document)
	if err != nil {
		return document{}, err
	}
	if state.Device != stored.Device {
		return document{}, domain.Errorf(domain.ErrInvalid, "it is the document of device %q", state.Device)
	}
	doc := document{
		record: record{
			revision:   stored.Revision,
			generation: state.Generation,
			digest:     parseDigest(contracts.DocumentDigest(signed.Document)),
		},
		text: signed.Document,
	}
	if len(state.Deployments) > 0 {
		doc.record.entries = make([]assignment, len(state.Deployments))
	}
	for i, deployment := range state.Deployments {
		doc.record.entries[i] = assignment{name: unique.Make(deployment.Name), generation: deployment.Generation}
	}
	doc.record.content = contentOf(signed.Document, state)
	return doc, nil
}

// contentOf is the hash of a document's content; zero when the document does
// not have the form that the composer gives it.
func contentOf(text []byte, state contracts.DesiredState) [16]byte {
	head := begin(nil, state.Device)
	split := head.split
	rest, ok := bytes.CutPrefix(text, appendGeneration(bytes.Clone(head.text[:split]), state.Generation))
	if !ok {
		return [16]byte{}
	}
	return hashContent(append(head.text[:split], rest...))
}

// entry returns the JSON of one deployment in the document.
func (d *document) entry(name nameHandle) (json.RawMessage, uint64, bool) {
	i := slices.IndexFunc(d.record.entries, func(a assignment) bool { return a.name == name })
	if i < 0 {
		return nil, 0, false
	}
	var raw struct {
		Deployments []json.RawMessage `json:"deployments"`
	}
	if err := json.Unmarshal(d.text, &raw); err != nil {
		return nil, 0, false // cannot be: it was decoded before
	}
	return raw.Deployments[i], d.record.entries[i].generation, true
}
