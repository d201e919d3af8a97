package contracts_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

func TestDecodeNamesThePlace(t *testing.T) {
	report := func(deployments string) string {
		return `{"sequence":1,"appliedGeneration":1,"deployments":` + deployments + `}`
	}
	deployment := func(field string) string {
		return report(`[{"name":"a","generation":1,"phase":"Running","since":"2026-01-31T12:00:00Z",` + field + `}]`)
	}
	tests := []struct{ name, document, field, reason string }{
		{"empty", "", "", "must not be empty or null"},
		{"null", " null ", "", "must not be empty or null"},
		{"list", "[]", "", "must be an object, is a JSON list"},
		{"text", `"x"`, "", "must be an object, is a JSON string"},
		{"number", "1", "", "must be an object, is a JSON number"},
		{"truth", "true", "", "must be an object, is true or false"},
		{"syntax", `{"sequence" 1}`, "", "is not valid JSON at byte 13"},
		{"truncated", `{"sequence":1`, "", "is not valid JSON at byte 13: unexpected end"},
		{"two documents", report("[]") + "{}", "", "is not valid JSON at byte"},
		{"negative", `{"sequence":-1}`, "sequence", "must be a whole number of at least 0, is -1"},
		{"fraction", `{"sequence":1.5}`, "sequence", "must be a whole number of at least 0, is 1.5"},
		{"too large for the type", `{"sequence":99999999999999999999}`, "sequence", "is 99999999999999999999"},
		{"object for a list", report(`{}`), "deployments", "must be a list, is a JSON object"},
		{"text in a list", report(`[{"name":"a"},"b"]`), "deployments[1]", "must be an object, is a JSON string"},
		{"nested", deployment(`"services":[{"name":"a","state":"Running"},{"name":7}]`), "deployments[0].services[1].name", "must be a string, is a JSON number"},
		{"time", report(`[{"since":"31.1.2026"}]`), "deployments[0].since", `must be a time such as "2026-01-31T13:00:00Z", is another text`},
		{"time as number", report(`[{"since":5}]`), "deployments[0].since", "is a JSON number"},
		{"below a pointer", `{"refused":{"generation":true}}`, "refused.generation", "is true or false"},
		{"key in another case", `{"SEQUENCE":"x"}`, "SEQUENCE", "must be a whole number of at least 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Decode[DeviceReport]([]byte(test.document))
			assertFieldError(t, err, test.field, test.reason)
			assert.True(t, strings.HasPrefix(err.Error(), "decode DeviceReport: "), "%v", err)
		})
	}

	_, err := Decode[LogsResult]([]byte(`{"chunk":"!!"}`))
	assertFieldError(t, err, "chunk", "must be a string in base64, is another text")
	_, err = Decode[EnrollReply]([]byte(`{"state":"Done","credential":{"servers":["a",{}]}}`))
	assertFieldError(t, err, "credential.servers[1]", "must be a string, is a JSON object")
	_, err = Decode[DeviceInfo]([]byte(`{"labels":{"a":1}}`))
	assertFieldError(t, err, "labels.a", "must be a string, is a JSON number")
}

func TestNullIsAFieldLeftOut(t *testing.T) {
	score, err := Decode[PodmanV0]([]byte(`{"services":[{"name":"web","image":"web","command":null,"args":null,"env":null,"healthcheck":null,"restart":null}],"initContainers":null,"lifecycle":null}`))
	require.NoError(t, err)
	want := PodmanContainer{Name: "web", Image: "web"}
	assert.Equal(t, PodmanV0{Services: []PodmanService{{PodmanContainer: want}}}, score)

	rollout, err := DecodeStrict[Rollout]([]byte(`{"minReady":null,"maxUnavailable":null,"strategy":null}`))
	require.NoError(t, err)
	assert.Equal(t, Rollout{}, rollout)
}

func TestSizeLimits(t *testing.T) {
	large := strings.Repeat(" ", MaxDocumentBytes)
	_, err := Decode[Empty]([]byte(large[:MaxDocumentBytes-2] + "{}"))
	require.NoError(t, err)
	_, err = Decode[Empty]([]byte(large + "{}"))
	assertFieldError(t, err, "", "document has 524290 bytes, at most 524288 are allowed")

	state := desiredState()
	state.Deployments[0].Score.Data = json.RawMessage(`"` + large + `"`)
	_, err = Encode(state)
	assertFieldError(t, err, "", "at most 524288 are allowed")
}

// The largest document that can be written can be signed and read back.
func TestLargestDocumentFitsItsEnvelope(t *testing.T) {
	state := desiredState()
	state.Deployments[0].Score.Data = json.RawMessage(`""`)
	base, err := Encode(state)
	require.NoError(t, err)
	state.Deployments[0].Score.Data = json.RawMessage(`"` + strings.Repeat("x", MaxDocumentBytes-len(base)) + `"`)
	document, err := Encode(state)
	require.NoError(t, err)
	require.Len(t, document, MaxDocumentBytes)

	envelope, err := Decode[Signed](Sign(document, testKey()))
	require.NoError(t, err)
	again, err := Decode[DesiredState](envelope.Document)
	require.NoError(t, err)
	assert.Equal(t, state, again)

	_, err = Encode(CommandReply{Result: document})
	require.NoError(t, err)
	_, err = Encode(Signed{Document: append([]byte("{}"), make([]byte, MaxDocumentBytes)...), Signature: envelope.Signature})
	assertFieldError(t, err, "document", "at most 524288 are allowed")
}

func TestEncodeIsDeterministicAndPlain(t *testing.T) {
	withNil := DesiredState{Device: "a", Generation: 1, HeartbeatInterval: DefaultHeartbeatInterval}
	first, err := Encode(withNil)
	require.NoError(t, err)
	withNil.Deployments = []DesiredDeployment{}
	second, err := Encode(withNil)
	require.NoError(t, err)
	assert.Equal(t, string(first), string(second))
	assert.Contains(t, string(first), `"deployments":[]`)

	described, err := Encode(DescribeResult{})
	require.NoError(t, err)
	assert.Contains(t, string(described), `"report":{"sequence":0,"appliedGeneration":0,"deployments":[]}`)

	spaced := desiredState()
	spaced.Deployments[0].Score.Data = json.RawMessage(` { "services" : [ "<&>" ] } `)
	data, err := Encode(spaced)
	require.NoError(t, err)
	assert.Contains(t, string(data), `"data":{"services":["<&>"]}`)
	assert.NotContains(t, string(data), "\n")

	broken := desiredState()
	broken.Deployments[0].Score.Data = json.RawMessage(`{"a"`)
	_, err = Encode(broken)
	require.ErrorContains(t, err, "encode DesiredState: ")
}

// A text that is sent is also received: JSON would make more of wrong bytes.
func TestTextsAreUTF8(t *testing.T) {
	report := deviceReport()
	report.Deployments[1].Message = strings.Repeat("\xff", 600)
	_, err := Encode(report)
	assertFieldError(t, err, "deployments[1].message", "must be valid UTF-8")

	report.Deployments[1].Message = Clip(strings.Repeat("\xffü", 900), MaxMessageBytes)
	data, err := Encode(report)
	require.NoError(t, err)
	_, err = Decode[DeviceReport](data)
	require.NoError(t, err)
}

func TestClip(t *testing.T) {
	assert.Equal(t, "abc", Clip("abc", 3))
	assert.Equal(t, "…", Clip("abcd", 3))
	assert.Equal(t, "ab…", Clip("abcdef", 5))
	assert.Equal(t, "a…", Clip("aüüü", 5), "no half of a letter")
	assert.Equal(t, "a\uFFFDb", Clip("a\xff\xfeb", 10))
}

func TestErrorsAreBounded(t *testing.T) {
	long := strings.Repeat("k", 100_000)
	_, err := DecodeStrict[Manifest]([]byte(`{"` + long + `":1}`))
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 1000)
	_, err = Decode[Event]([]byte(`{"time":"2026-01-31T12:00:00Z","kind":"` + long + `"}`))
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 1000)
}

// Errors go to logs and to people's screens.
func TestErrorsNeverQuoteSecrets(t *testing.T) {
	const secret = "s3cr3t"
	manifest := func(service string) string {
		return `{"apiVersion":"` + APIVersion + `","kind":"Deployment","metadata":{"name":"web"},"spec":{"targetSelector":{},"score":{"type":"PodmanV0","data":{"services":[{"name":"web","image":"web",` + service + `}]}}}}`
	}
	manifests := map[string]string{
		"value with a NUL":         manifest(`"env":{"PASSWORD":"s3cr3t\u0000"}`),
		"list of assignments":      manifest(`"env":["PASSWORD=s3cr3t"]`),
		"text":                     manifest(`"env":"PASSWORD=s3cr3t"`),
		"assignment as a name":     manifest(`"env":{"PASS-WORD=s3cr3t":""}`),
		"value in a list":          manifest(`"env":{"PASSWORD":["s3cr3t"]}`),
		"argument with a NUL":      manifest(`"args":["--token","s3cr3t\u0000"]`),
		"command with a NUL":       manifest(`"command":["login","s3cr3t\u0000"]`),
		"command that is a map":    manifest(`"command":{"a":"s3cr3t"}`),
		"bad name of the variable": manifest(`"env":{"9A":"s3cr3t"}`),
	}
	for name, text := range manifests {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeStrict[Manifest]([]byte(text))
			require.Error(t, err)
			assert.NotContains(t, err.Error(), secret)
		})
	}
	_, err := DecodeStrict[Manifest]([]byte(manifest(`"env":{"PIN":1234567}`)))
	assertFieldError(t, err, "spec.score.data.services[0].env.PIN", "must be a string, is a JSON number")
	assert.NotContains(t, err.Error(), "1234567")

	requests := []string{
		`{"device":"PI","token":"s3cr3t"}`,
		`{"device":"pi","token":["s3cr3t"]}`,
		`{"device":"pi","token":"` + strings.Repeat(secret, 200) + `"}`,
		`{"device":"pi","token":"s3cr3t","publicKey":""}`,
		`{"device":"pi","token":"s3cr3t`,
	}
	for _, request := range requests {
		_, err := Decode[EnrollRequest]([]byte(request))
		require.Error(t, err)
		assert.NotContains(t, err.Error(), secret)
	}
	_, err = ParsePublicKey("ed25519:" + secret)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), secret)
	_, err = Decode[PingResult]([]byte(`{"time":"s3cr3t"}`))
	require.Error(t, err)
	assert.NotContains(t, err.Error(), secret)
	_, err = Encode(ExecRequest{Command: []string{"login", "s3cr3t\x00"}, Timeout: Duration(time.Second)})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), secret)
}
