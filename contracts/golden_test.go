package contracts_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	. "github.com/nationtech/harmony-fleet/contracts"
)

const goldenFolder = "testdata/v1"

var update = flag.Bool("update", false, "write the golden files anew; only before the first release, and never in CI")

// golden is one wire document and its golden file.
type golden struct {
	name   string
	value  Document
	encode func() ([]byte, error)
	decode func([]byte) (Document, error)
}

func document[D Document](name string, value D) golden {
	return golden{
		name:   name,
		value:  value,
		encode: func() ([]byte, error) { return Encode(value) },
		decode: func(data []byte) (Document, error) { return Decode[D](data) },
	}
}

func (g golden) path() string { return filepath.Join(goldenFolder, g.name+".json") }

func TestMain(m *testing.M) {
	flag.Parse()
	if *update {
		if err := writeGoldens(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func writeGoldens() error {
	if os.Getenv("CI") != "" {
		return fmt.Errorf("-update: refused, because CI is set: a changed wire must fail here; write the golden files on your own machine and have them reviewed")
	}
	for _, g := range goldens() {
		data, err := g.encode()
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if g.name == "signed" { // the signature is over these very bytes
			out.Write(data)
		} else if err := json.Indent(&out, data, "", "  "); err != nil {
			return err
		}
		out.WriteByte('\n')
		if err := os.WriteFile(g.path(), out.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compact returns a golden file as it is on the wire.
func compact(tb testing.TB, g golden) []byte {
	tb.Helper()
	data, err := os.ReadFile(g.path())
	require.NoError(tb, err)
	var out bytes.Buffer
	require.NoError(tb, json.Compact(&out, data))
	return out.Bytes()
}

func TestGoldenFiles(t *testing.T) {
	for _, g := range goldens() {
		t.Run(g.name, func(t *testing.T) {
			wire := compact(t, g)

			decoded, err := g.decode(wire)
			require.NoError(t, err)
			assert.Equal(t, g.value, decoded, "decoded golden file")

			encoded, err := g.encode()
			require.NoError(t, err)
			assert.Equal(t, string(wire), string(encoded), "encoded value")

			newer := withUnknownFields(t, wire, reflect.TypeOf(g.value))
			require.Contains(t, string(newer), "fieldOfANewerVersion")
			decoded, err = g.decode(newer)
			require.NoError(t, err)
			assert.Equal(t, g.value, decoded, "unknown fields must be ignored")

			_, err = g.decode(append(slices.Clone(wire), '{'))
			require.Error(t, err, "anything after the document is an error")
			_, err = g.decode(wire[:len(wire)-1])
			require.Error(t, err, "a truncated document is an error")
		})
	}
}

// withUnknownFields adds an unknown field to every object that a Go struct of
// t reads, and leaves raw documents inside as they are.
func withUnknownFields(t *testing.T, raw json.RawMessage, shape reflect.Type) json.RawMessage {
	t.Helper()
	for shape.Kind() == reflect.Pointer {
		shape = shape.Elem()
	}
	switch {
	case reflect.PointerTo(shape).Implements(reflect.TypeFor[json.Unmarshaler]()):
	case shape.Kind() == reflect.Struct:
		var object map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(raw, &object))
		for _, field := range reflect.VisibleFields(shape) {
			if value, ok := object[jsonName(field)]; ok && !field.Anonymous {
				object[jsonName(field)] = withUnknownFields(t, value, field.Type)
			}
		}
		object["fieldOfANewerVersion"] = json.RawMessage(`{"a":[null,{"b":1}]}`)
		return join(object)
	case shape.Kind() == reflect.Slice && raw[0] == '[':
		var list []json.RawMessage
		require.NoError(t, json.Unmarshal(raw, &list))
		for i := range list {
			list[i] = withUnknownFields(t, list[i], shape.Elem())
		}
		return slices.Concat([]byte("["), bytes.Join(asBytes(list), []byte(",")), []byte("]"))
	}
	return raw
}

func join(object map[string]json.RawMessage) json.RawMessage {
	var members [][]byte
	for _, key := range slices.Sorted(maps.Keys(object)) {
		members = append(members, slices.Concat([]byte(`"`+key+`":`), object[key]))
	}
	return slices.Concat([]byte("{"), bytes.Join(members, []byte(",")), []byte("}"))
}

func asBytes(list []json.RawMessage) [][]byte {
	out := make([][]byte, len(list))
	for i, item := range list {
		out[i] = item
	}
	return out
}

func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

// A field that no golden file shows is not frozen.
func TestGoldenFilesShowEveryField(t *testing.T) {
	shown := map[string]bool{}
	for _, g := range goldens() {
		collect(reflect.ValueOf(g.value), shown)
	}
	for field, set := range shown {
		assert.True(t, set, "%s is empty in every golden file: show it in goldenvalues_test.go", field)
	}

	for _, name := range documentTypes(t) {
		_, found := shown[name]
		assert.True(t, found, "%s has no golden file: add it to goldens()", name)
	}
}

// collect notes which types there are and which of their fields are ever set.
func collect(value reflect.Value, shown map[string]bool) {
	switch value.Kind() {
	case reflect.Pointer:
		if !value.IsNil() {
			collect(value.Elem(), shown)
		}
	case reflect.Slice:
		for i := range value.Len() {
			collect(value.Index(i), shown)
		}
	case reflect.Struct:
		if value.Type().PkgPath() != reflect.TypeFor[Signed]().PkgPath() {
			return
		}
		shown[value.Type().Name()] = true
		for field, inner := range value.Fields() {
			if !field.IsExported() {
				continue
			}
			name := value.Type().Name() + "." + field.Name
			set := !inner.IsZero() && (inner.Kind() != reflect.Slice || inner.Len() > 0)
			shown[name] = shown[name] || set
			collect(inner, shown)
		}
	default: // holds no documents
	}
}

// documentTypes are the struct types of this package that have a JSON form.
func documentTypes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	structure := regexp.MustCompile(`(?ms)^type (\w+) struct \{\n(.*?)^\}`)
	field := regexp.MustCompile("(?m)^\t[A-Z]\\w* +[^ ].*$")
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range structure.FindAllStringSubmatch(string(source), -1) {
			name, body := found[1], found[2]
			if !strings.Contains(body, "`json:") {
				continue
			}
			names = append(names, name)
			for _, line := range field.FindAllString(body, -1) {
				assert.Contains(t, line, "`json:", "%s has a field without a JSON name", name)
			}
		}
	}
	require.Contains(t, names, "DesiredState")
	require.Greater(t, len(names), 30)
	return names
}

func TestEveryGoldenFileIsTested(t *testing.T) {
	entries, err := os.ReadDir(goldenFolder)
	require.NoError(t, err)
	var files, tested []string
	for _, entry := range entries {
		files = append(files, entry.Name())
	}
	for _, g := range goldens() {
		tested = append(tested, g.name+".json")
	}
	slices.Sort(tested)
	assert.Equal(t, tested, files)
}

func TestUpdateIsRefusedInCI(t *testing.T) {
	t.Setenv("CI", "true")
	before, err := os.Stat(filepath.Join(goldenFolder, "heartbeat.json"))
	require.NoError(t, err)
	require.ErrorContains(t, writeGoldens(), "refused, because CI is set")
	after, err := os.Stat(filepath.Join(goldenFolder, "heartbeat.json"))
	require.NoError(t, err)
	assert.Equal(t, before.ModTime(), after.ModTime())
}
