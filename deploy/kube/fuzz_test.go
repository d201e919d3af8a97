package kube

import (
	"bytes"
	"testing"
)

func FuzzFindInIndex(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nentries:\n  web:\n    - {name: web, version: 1.0.0, urls: [web-1.0.0.tgz]}\n"))
	f.Add([]byte("entries: {web: [null, {}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entry, err := findInIndex(data, "web", "1.0.0")
		if err == nil && (entry == nil || len(entry.URLs) == 0) {
			t.Fatal("an entry that cannot be fetched was returned")
		}
	})
}

func FuzzArchive(f *testing.F) {
	f.Add([]byte{0x1f, 0x8b})
	f.Add(bytes.Repeat([]byte("chart"), 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := fromArchive(data, "", "", "")
		if err == nil && (c.Name == "" || c.Version == "") {
			t.Fatal("a chart without a name was returned")
		}
	})
}
