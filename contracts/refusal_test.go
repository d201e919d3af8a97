package contracts_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

// refusal is one rule: a valid document, edited to break it, is refused at
// that field for that reason.
type refusal[D Document] struct {
	name   string
	edit   func(*D)
	field  string
	reason string
}

// checkRefusals makes each document anew, so that edits do not meet.
func checkRefusals[D Document](t *testing.T, valid func() D, cases []refusal[D]) {
	t.Helper()
	require.NoError(t, valid().Validate())
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			doc := valid()
			test.edit(&doc)
			assertFieldError(t, doc.Validate(), test.field, test.reason)
			_, err := Encode(doc)
			assertFieldError(t, err, test.field, test.reason)
		})
	}
}

// accepted is a variation that must stay valid.
type accepted[D Document] struct {
	name string
	edit func(*D)
}

func checkAccepted[D Document](t *testing.T, valid func() D, cases []accepted[D]) {
	t.Helper()
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			doc := valid()
			test.edit(&doc)
			require.NoError(t, doc.Validate())
			data, err := Encode(doc)
			require.NoError(t, err)
			_, err = Decode[D](data)
			require.NoError(t, err)
		})
	}
}

func assertFieldError(t *testing.T, err error, field, reason string) {
	t.Helper()
	found, ok := errors.AsType[*FieldError](err)
	require.True(t, ok, "no FieldError: %v", err)
	assert.Equal(t, field, found.Field)
	assert.Contains(t, found.Reason, reason)
}
