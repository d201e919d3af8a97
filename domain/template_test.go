package domain_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestTemplateExpands(t *testing.T) {
	t.Parallel()
	labels := contracts.Labels{"site": "paris", "example.org/rack": "7", "empty": ""}
	cases := map[string]struct{ data, want string }{
		"nothing":       {`{"a":"b"}`, `{"a":"b"}`},
		"id":            {`{"a":"{{ .device.id }}"}`, `{"a":"pi-1"}`},
		"no spaces":     {`{"a":"{{.device.id}}"}`, `{"a":"pi-1"}`},
		"label":         {`{"a":"x{{ .device.labels.site }}y"}`, `{"a":"xparisy"}`},
		"prefixed":      {`{"a":"{{ .device.labels.example.org/rack }}"}`, `{"a":"7"}`},
		"empty value":   {`{"a":"{{ .device.labels.empty }}"}`, `{"a":""}`},
		"two":           {`["{{ .device.id }}-{{ .device.id }}"]`, `["pi-1-pi-1"]`},
		"braces":        {`["{{ \"{{\" }}.State}}"]`, `["{{.State}}"]`},
		"closing alone": {`{"a":{"b":"}}"}}`, `{"a":{"b":"}}"}}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			template, err := domain.ParseTemplate(json.RawMessage(c.data))
			require.NoError(t, err)
			got, err := template.Expand("pi-1", labels)
			require.NoError(t, err)
			require.Equal(t, c.want, string(got))
			require.Equal(t, name == "nothing" || name == "braces" || name == "closing alone", template.Static())
		})
	}
}

func TestTemplateNamesTheMissingLabel(t *testing.T) {
	t.Parallel()
	template, err := domain.ParseTemplate(json.RawMessage(`["{{ .device.labels.site }}"]`))
	require.NoError(t, err)
	_, err = template.Expand("pi-1", contracts.Labels{"rack": "7"})
	require.ErrorIs(t, err, domain.ErrInvalid)
	require.ErrorContains(t, err, `device "pi-1" has no label "site"`)
}

func TestTemplateRefuses(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"unknown":             `["{{ .device.name }}"]`,
		"a program":           `["{{ range .device.labels }}x{{ end }}"]`,
		"not closed":          `["{{ .device.id"]`,
		"closed in next text": `["{{ .device.id","}}"]`,
		"bad label key":       `["{{ .device.labels.-x }}"]`,
		"empty":               `["{{ }}"]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := domain.ParseTemplate(json.RawMessage(data))
			require.Error(t, err)
		})
	}
}

// FuzzTemplate expands any JSON text and expects JSON again, with no template
// left but those that were written as text.
func FuzzTemplate(f *testing.F) {
	f.Add("{{ .device.id }}")
	f.Add("x{{ .device.labels.site }}y{{ \"{{\" }}")
	f.Add("{{{ .device.id }}}")
	f.Fuzz(func(t *testing.T, text string) {
		data, err := json.Marshal(map[string]string{"a": text})
		require.NoError(t, err)
		template, err := domain.ParseTemplate(data)
		if err != nil {
			return
		}
		got, err := template.Expand("pi-1", contracts.Labels{"site": "paris"})
		if err != nil {
			require.ErrorIs(t, err, domain.ErrInvalid)
			return
		}
		require.True(t, json.Valid(got), "%s", got)
	})
}
