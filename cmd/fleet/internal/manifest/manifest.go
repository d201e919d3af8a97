// Package manifest reads what people write: YAML or JSON files with one or
// several deployments. Every mistake is found before anything is stored, and is
// told with its file, line and field.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// MaxFileBytes bounds one file, of several documents perhaps.
const MaxFileBytes = 4 << 20

// Document is one manifest of a file, checked.
type Document struct {
	Deployment domain.FleetDeployment
	File       string
	// Line is where the document begins.
	Line int
}

// Mistake is one thing wrong with a file. Like contracts.FieldError it never
// quotes a value that could be a secret.
type Mistake struct {
	File string
	// Line counts from 1; 0 when the whole file is meant.
	Line int
	// Field is a path such as "spec.score.data.services[0].image", "" when the
	// whole document is meant.
	Field  string
	Reason string
}

// Error is "FILE:LINE: FIELD: REASON".
func (m *Mistake) Error() string {
	var out strings.Builder
	out.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&out, ":%d", m.Line)
	}
	out.WriteString(": ")
	if m.Field != "" {
		out.WriteString(m.Field + ": ")
	}
	out.WriteString(m.Reason)
	return out.String()
}

// Read returns the documents of one file and what is wrong with the others: at
// most one mistake for each document.
func Read(file string, data []byte) ([]Document, []*Mistake) {
	if mistake := checkText(data); mistake != nil {
		mistake.File = file
		return nil, []*Mistake{mistake}
	}
	var documents []Document
	var mistakes []*Mistake
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			mistakes = append(mistakes, syntaxMistake(data, err))
			break
		}
		root := node.Content[0]
		if root.Kind == yaml.ScalarNode && root.ShortTag() == tagNull {
			continue // nothing between two separators
		}
		deployment, mistake := readDocument(root)
		if mistake != nil {
			mistakes = append(mistakes, mistake)
			continue
		}
		documents = append(documents, Document{Deployment: deployment, File: file, Line: root.Line})
	}
	if len(documents) == 0 && len(mistakes) == 0 {
		mistakes = append(mistakes, &Mistake{Reason: "holds no manifest"})
	}
	for _, mistake := range mistakes {
		mistake.File = file
	}
	return documents, mistakes
}

// checkText refuses what is not text before a parser has to say it worse.
func checkText(data []byte) *Mistake {
	if len(data) > MaxFileBytes {
		return &Mistake{Reason: fmt.Sprintf("has more than %d bytes: is this a manifest?", MaxFileBytes)}
	}
	line := 1
	for at := 0; at < len(data); {
		r, size := utf8.DecodeRune(data[at:])
		switch {
		case r == '\n':
			line++
		case r == '\t' || r == '\r' || r == '\u0085' || r == '\ufeff' && at == 0:
		case r == utf8.RuneError && size == 1, r < ' ', r >= 0x7f && r < 0xa0, r == '\ufeff', r == '\ufffe', r == '\uffff':
			return &Mistake{Line: line, Reason: fmt.Sprintf("is not text in UTF-8 (byte 0x%02x): is this a manifest?", data[at])}
		}
		at += size
	}
	return nil
}

// readDocument returns the deployment that one document declares.
func readDocument(root *yaml.Node) (domain.FleetDeployment, *Mistake) {
	if root.Kind != yaml.MappingNode {
		return domain.FleetDeployment{}, &Mistake{Line: root.Line, Reason: `is not a manifest: it must begin with fields such as "apiVersion: ` + contracts.APIVersion + `"`}
	}
	data, mistake := toJSON(root, nil)
	if mistake != nil {
		return domain.FleetDeployment{}, mistake
	}
	manifest, err := contracts.DecodeStrict[contracts.Manifest](data)
	if err != nil {
		return domain.FleetDeployment{}, withHint(root, fieldOf(err, ""))
	}
	deployment := domain.DeploymentFromManifest(manifest, contracts.OriginCLI)
	return deployment, checkDeployment(root, deployment)
}

// checkDeployment finds what only the domain knows to be wrong.
func checkDeployment(root *yaml.Node, deployment domain.FleetDeployment) *Mistake {
	if err := domain.CheckDeployment(deployment); err != nil {
		if mistake := templateMistake(root); mistake != nil {
			return mistake
		}
		return at(root, fieldOf(err, "spec.rollout."))
	}
	record := deployment.Record()
	record.Generation = 1
	if _, err := contracts.Encode(record); err != nil {
		field := fieldOf(err, "")
		if field.Field == "changeCause" {
			field.Field = "metadata.annotations." + domain.ChangeCauseAnnotation
		}
		return at(root, field)
	}
	return nil
}

// fieldOf returns the field that err is about, its path below prefix.
func fieldOf(err error, prefix string) contracts.FieldError {
	if field, ok := errors.AsType[*contracts.FieldError](err); ok {
		return contracts.FieldError{Field: prefix + field.Field, Reason: field.Reason}
	}
	return contracts.FieldError{Reason: err.Error()}
}

// withHint adds "quote it" where quotes alone would mend the mistake: a number
// where a text is wanted looks right to whoever wrote it.
func withHint(root *yaml.Node, field contracts.FieldError) *Mistake {
	mistake := at(root, field)
	place := locate(root, field.Field)
	if !place.exact {
		return mistake
	}
	scalars := plainValues(place.value)
	if len(scalars) == 0 {
		return mistake
	}
	quoted := make(map[*yaml.Node]bool, len(scalars))
	for _, scalar := range scalars {
		quoted[scalar] = true
	}
	data, failed := toJSON(root, quoted)
	if failed != nil {
		return mistake
	}
	if _, err := contracts.DecodeStrict[contracts.Manifest](data); err == nil || fieldOf(err, "").Field != field.Field {
		mistake.Line = scalars[0].Line
		mistake.Reason += "; quote it"
	}
	return mistake
}

// templateMistake returns the first text of the score that holds a template
// which is not understood.
func templateMistake(root *yaml.Node) *Mistake {
	const score = "spec.score.data"
	var found *Mistake
	walk(locate(root, score).value, score, func(field string, node *yaml.Node) bool {
		data, mistake := toJSON(node, nil)
		if mistake != nil {
			return true
		}
		if _, err := domain.ParseTemplate(data); err != nil {
			found = &Mistake{Line: node.Line, Field: field, Reason: fieldOf(err, "").Reason}
		}
		return found == nil
	})
	return found
}
