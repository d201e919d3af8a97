package dev

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// provider says how to use the identity provider, as fleet-dev-identity prints it.
type provider struct {
	Issuer          string `json:"issuer"`
	OrganizationID  string `json:"organizationID"`
	ProjectID       string `json:"projectID"`
	DevicePrefix    string `json:"devicePrefix"`
	OperatorKeyFile string `json:"operatorKeyFile"`
}

func parseProvider(line []byte) (provider, error) {
	var p provider
	if err := json.Unmarshal(line, &p); err != nil {
		return provider{}, fmt.Errorf("fleet-dev-identity did not print what it serves: %w: is it of this version?", err)
	}
	if p.Issuer == "" || p.OrganizationID == "" || p.ProjectID == "" || p.DevicePrefix == "" || p.OperatorKeyFile == "" {
		return provider{}, fmt.Errorf("fleet-dev-identity printed only a part of what it serves: is it of this version?")
	}
	return p, nil
}

// firstLine takes what a program prints, and passes on its first line.
type firstLine struct {
	line chan []byte
	text []byte
	done bool
}

func newFirstLine() *firstLine { return &firstLine{line: make(chan []byte, 1)} }

// Write implements io.Writer.
func (f *firstLine) Write(data []byte) (int, error) {
	if f.done {
		return len(data), nil
	}
	f.text = append(f.text, data...)
	if line, _, found := bytes.Cut(f.text, []byte("\n")); found {
		f.done = true
		f.line <- line
	}
	return len(data), nil
}
