package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"testing"
)

func FuzzOpen(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	index := []byte(`{"format":"harmony-fleet-bundle/1","charts":[],"images":[],"entries":[{"name":"oci-layout","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}]}`)
	for name, data := range map[string][]byte{IndexFile: index} {
		_ = w.WriteHeader(header(name, int64(len(data))))
		_, _ = w.Write(data)
	}
	_ = w.WriteHeader(header("oci-layout", 2))
	_, _ = w.Write([]byte("{}"))
	_ = w.Close()
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:700])
	f.Add([]byte("none"))
	f.Fuzz(func(t *testing.T, data []byte) {
		opened, err := read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, entry := range opened.Index.Entries {
			if entry.check() != nil {
				t.Fatalf("the entry %q was taken", entry.Name)
			}
			at := opened.places[entry.Name]
			if at.offset < 0 || at.entry.Size < 0 || at.offset+at.entry.Size > int64(len(data)) {
				t.Fatalf("the entry %q lies outside of the archive", entry.Name)
			}
		}
		_ = opened.Verify(context.Background(), func(string) {})
	})
}

func FuzzReference(f *testing.F) {
	for _, text := range []string{"nats", "nats:2", "a.b/c/d:e@sha256:00", "localhost:5000/x", "UPPER"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseReference(text)
		if err != nil {
			return
		}
		again, err := parseReference(parsed.String())
		if err != nil || again != parsed {
			t.Fatalf("%q is %q, which is %v, %v", text, parsed, again, err)
		}
	})
}
