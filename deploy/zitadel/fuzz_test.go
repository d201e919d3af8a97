package zitadel

import "testing"

func FuzzParseDiscovery(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://sso.example","jwks_uri":"https://sso.example/oauth/v2/keys"}`))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := parseDiscovery(data)
		if err == nil && (found.Issuer == "" || found.Keys == "") {
			t.Fatal("half an answer was taken")
		}
	})
}
