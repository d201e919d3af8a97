package contracts_test

import (
	"crypto/ed25519"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

// fuzzDecode: whatever the bytes, no panic; a refusal says where and why in
// bounded text; what is accepted encodes and decodes to itself.
func fuzzDecode[D Document](f *testing.F, decode func([]byte) (D, error)) {
	f.Helper()
	seed[D](f)
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := decode(data)
		if err != nil {
			requireRefusal(t, err)
			return
		}
		requireRoundTrip(t, doc, decode)
	})
}

// seed adds the golden files of D, and a few wrong documents.
func seed[D Document](f *testing.F) {
	f.Helper()
	for _, g := range goldens() {
		if _, ok := g.value.(D); ok {
			f.Add(compact(f, g))
		}
	}
	for _, wrong := range []string{"", "null", "{}", "[]", `""`, "0", `{"a":`, `{"spec":{"score":{"data":null}}}`, `{"wait":1,"uptime":null}`, "\xff\xfe", `{"reason":"\ud800"}`} {
		f.Add([]byte(wrong))
	}
}

func requireRefusal(t *testing.T, err error) {
	t.Helper()
	var decode *DecodeError
	require.ErrorAs(t, err, &decode)
	var field *FieldError
	require.ErrorAs(t, err, &field)
	require.NotEmpty(t, field.Reason)
	require.LessOrEqual(t, len(field.Reason), 512)
	require.LessOrEqual(t, len(field.Field), 1024)
	require.True(t, utf8.ValidString(err.Error()))
}

func requireRoundTrip[D Document](t *testing.T, doc D, decode func([]byte) (D, error)) {
	t.Helper()
	first, err := Encode(doc)
	require.NoError(t, err)
	again, err := decode(first)
	require.NoError(t, err, "%s", first)
	require.True(t, sameValue(doc, again), "%+v became %+v", doc, again)
	second, err := Encode(again)
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))
}

func FuzzDecodeDesiredState(f *testing.F)       { fuzzDecode(f, Decode[DesiredState]) }
func FuzzDecodePodmanV0(f *testing.F)           { fuzzDecode(f, Decode[PodmanV0]) }
func FuzzDecodeProcessV0(f *testing.F)          { fuzzDecode(f, Decode[ProcessV0]) }
func FuzzDecodeDeviceInfo(f *testing.F)         { fuzzDecode(f, Decode[DeviceInfo]) }
func FuzzDecodeDeviceReport(f *testing.F)       { fuzzDecode(f, Decode[DeviceReport]) }
func FuzzDecodeSyncRequest(f *testing.F)        { fuzzDecode(f, Decode[SyncRequest]) }
func FuzzDecodeEvent(f *testing.F)              { fuzzDecode(f, Decode[Event]) }
func FuzzDecodeDeploymentRecord(f *testing.F)   { fuzzDecode(f, Decode[DeploymentRecord]) }
func FuzzDecodeDeploymentStatus(f *testing.F)   { fuzzDecode(f, Decode[DeploymentStatus]) }
func FuzzDecodeDeviceRecord(f *testing.F)       { fuzzDecode(f, Decode[DeviceRecord]) }
func FuzzDecodeEnrollmentIntent(f *testing.F)   { fuzzDecode(f, Decode[EnrollmentIntent]) }
func FuzzDecodeEnrollTokenRequest(f *testing.F) { fuzzDecode(f, Decode[EnrollTokenRequest]) }
func FuzzDecodeEnrollTokenResult(f *testing.F)  { fuzzDecode(f, Decode[EnrollTokenResult]) }
func FuzzDecodeEnrollRequest(f *testing.F)      { fuzzDecode(f, Decode[EnrollRequest]) }
func FuzzDecodeEnrollReply(f *testing.F)        { fuzzDecode(f, Decode[EnrollReply]) }
func FuzzDecodeDeviceCredential(f *testing.F)   { fuzzDecode(f, Decode[DeviceCredential]) }
func FuzzDecodeLeaseRecord(f *testing.F)        { fuzzDecode(f, Decode[LeaseRecord]) }
func FuzzDecodeManifest(f *testing.F)           { fuzzDecode(f, Decode[Manifest]) }
func FuzzDecodeCommandReply(f *testing.F)       { fuzzDecode(f, Decode[CommandReply]) }
func FuzzDecodeEmpty(f *testing.F)              { fuzzDecode(f, Decode[Empty]) }
func FuzzDecodePingResult(f *testing.F)         { fuzzDecode(f, Decode[PingResult]) }
func FuzzDecodeLogsRequest(f *testing.F)        { fuzzDecode(f, Decode[LogsRequest]) }
func FuzzDecodeLogsResult(f *testing.F)         { fuzzDecode(f, Decode[LogsResult]) }
func FuzzDecodeExecRequest(f *testing.F)        { fuzzDecode(f, Decode[ExecRequest]) }
func FuzzDecodeExecResult(f *testing.F)         { fuzzDecode(f, Decode[ExecResult]) }
func FuzzDecodeRotateRequest(f *testing.F)      { fuzzDecode(f, Decode[RotateRequest]) }
func FuzzDecodeDescribeResult(f *testing.F)     { fuzzDecode(f, Decode[DescribeResult]) }

func FuzzDecodeHeartbeat(f *testing.F) {
	seed[Heartbeat](f)
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := Decode[Heartbeat](data)
		if err != nil {
			requireRefusal(t, err)
			return
		}
		requireRoundTrip(t, doc, Decode[Heartbeat])
		encoded, err := Encode(doc)
		require.NoError(t, err)
		assert.Less(t, len(encoded), MaxHeartbeatBytes)
	})
}

// Nothing but the signed document verifies, and an envelope keeps its bytes.
func FuzzDecodeSigned(f *testing.F) {
	seed[Signed](f)
	genuine := signed()
	f.Fuzz(func(t *testing.T, data []byte) {
		envelope, err := Decode[Signed](data)
		if err != nil {
			requireRefusal(t, err)
			return
		}
		requireRoundTrip(t, envelope, Decode[Signed])
		if envelope.Verify([]ed25519.PublicKey{nil, testPublicKey()}) == nil {
			assert.Equal(t, string(genuine.Document), string(envelope.Document))
		}
		encoded, err := Encode(envelope)
		require.NoError(t, err)
		again, err := Decode[Signed](encoded)
		require.NoError(t, err)
		assert.Equal(t, string(envelope.Document), string(again.Document))
	})
}

// What strict decoding accepts has one meaning: plain decoding agrees.
func FuzzDecodeStrictManifest(f *testing.F) {
	seed[Manifest](f)
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := DecodeStrict[Manifest](data)
		if err != nil {
			requireRefusal(t, err)
			return
		}
		requireRoundTrip(t, doc, DecodeStrict[Manifest])
		plain, err := Decode[Manifest](data)
		require.NoError(t, err)
		require.True(t, sameValue(doc, plain))
	})
}

// A score that validates is one that runtimes can read.
func FuzzReconcileScore(f *testing.F) {
	for _, g := range goldens() {
		switch g.value.(type) {
		case PodmanV0:
			f.Add(string(ScorePodmanV0), compact(f, g))
		case ProcessV0:
			f.Add(string(ScoreProcessV0), compact(f, g))
		}
	}
	f.Add("Newer", []byte(`{"a":1}`))
	f.Fuzz(func(t *testing.T, scoreType string, data []byte) {
		score := ReconcileScore{Type: ScoreType(scoreType), Data: data}
		valid := score.Validate() == nil
		require.False(t, valid && !score.Known())

		podman, err := score.PodmanV0()
		if err == nil {
			requireRoundTrip(t, podman, Decode[PodmanV0])
			requireReadable(t, podman)
		} else {
			requireRefusal(t, err)
			require.False(t, valid && score.Type == ScorePodmanV0)
		}
		process, err := score.ProcessV0()
		if err == nil {
			requireRoundTrip(t, process, Decode[ProcessV0])
		} else {
			requireRefusal(t, err)
			require.False(t, valid && score.Type == ScoreProcessV0)
		}
	})
}

func requireReadable(t *testing.T, score PodmanV0) {
	t.Helper()
	for _, service := range score.Services {
		for _, port := range service.Ports {
			_, err := ParsePort(port)
			require.True(t, err == nil || isTemplate(port), "port %q", port)
		}
		for _, volume := range service.Volumes {
			_, err := ParseVolume(volume)
			require.True(t, err == nil || isTemplate(volume), "volume %q", volume)
		}
		cpu, err := service.Resources.MilliCPU()
		require.True(t, err == nil || isTemplate(service.Resources.CPU))
		require.GreaterOrEqual(t, cpu, int64(0))
		memory, err := service.Resources.MemoryBytes()
		require.True(t, err == nil || isTemplate(service.Resources.Memory))
		require.GreaterOrEqual(t, memory, int64(0))
	}
}

func FuzzClip(f *testing.F) {
	f.Add("exit status 1", 5)
	f.Add("\xff\xfe\xfd", 4)
	f.Add("héllo…", 3)
	f.Fuzz(func(t *testing.T, text string, most int) {
		if most < 3 || most > 1<<16 {
			t.Skip("outside of what callers ask for")
		}
		clipped := Clip(text, most)
		require.LessOrEqual(t, len(clipped), most)
		require.True(t, utf8.ValidString(clipped))
		if len(text) <= most && utf8.ValidString(text) {
			require.Equal(t, text, clipped)
		}
	})
}

// requireFieldError checks that a parser refuses by a *FieldError.
func requireFieldError(t *testing.T, err error) *FieldError {
	t.Helper()
	field, ok := errors.AsType[*FieldError](err)
	require.True(t, ok, "%v is no FieldError", err)
	require.NotEmpty(t, field.Reason)
	return field
}
