package nats

import (
	"bytes"
	"testing"
)

func FuzzParseGreeting(f *testing.F) {
	f.Add([]byte("INFO {\"version\":\"2.14.2\",\"jetstream\":true,\"auth_required\":true}\r\n"))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if _, err := parseGreeting(line); err == nil && !bytes.HasPrefix(line, []byte("INFO ")) {
			t.Fatal("something else was taken for a greeting")
		}
	})
}
