// Package roster reads lists of devices to invite, and keeps what came of them.
package roster

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	// deviceColumn is the name of the column with the devices' IDs.
	deviceColumn = "device"
	// maxMistakes is how many mistakes are told of at once.
	maxMistakes = 10
	// MaxRows bounds a list.
	MaxRows = 100_000
)

// Row is one device to invite.
type Row struct {
	Device contracts.DeviceID
	Labels contracts.Labels
	Line   int
}

// Read reads a CSV whose first line names the columns: "device", and for every
// other column a label key. An empty cell is no label. common labels are given
// to all devices, less those that a row sets. The error names the lines of the
// first mistakes.
func Read(r io.Reader, common contracts.Labels) ([]Row, error) {
	reader := csv.NewReader(r)
	reader.ReuseRecord = true
	reader.TrimLeadingSpace = true
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New(`the file is empty: write a first line such as "device,site"`)
	}
	if err != nil {
		return nil, err
	}
	columns, at, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	var rows []Row
	var mistakes []error
	seen := map[contracts.DeviceID]int{}
	for {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err // it names the line
		}
		line, _ := reader.FieldPos(0)
		row, err := parseRow(columns, at, cells, common)
		row.Line = line
		if first, twice := seen[row.Device]; err == nil && twice {
			err = fmt.Errorf("device %q stands in line %d already", row.Device, first)
		}
		if err != nil {
			if mistakes = append(mistakes, fmt.Errorf("line %d: %w", line, err)); len(mistakes) == maxMistakes {
				break
			}
			continue
		}
		seen[row.Device] = line
		if rows = append(rows, row); len(rows) > MaxRows {
			return nil, fmt.Errorf("more than %d devices: divide the file", MaxRows)
		}
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	if len(rows) == 0 {
		return nil, errors.New("the file names no device")
	}
	return rows, nil
}

// parseHeader returns the names of the columns and the place of the devices'.
func parseHeader(cells []string) ([]string, int, error) {
	columns, at := make([]string, len(cells)), -1
	labels := contracts.Labels{}
	for i, cell := range cells {
		name := strings.TrimSpace(strings.TrimPrefix(cell, "\ufeff"))
		columns[i] = name
		switch _, twice := labels[name]; {
		case name == deviceColumn && at >= 0, twice:
			return nil, 0, fmt.Errorf("line 1: column %q stands there twice", name)
		case name == deviceColumn:
			at = i
		default:
			labels[name] = ""
		}
	}
	if at < 0 {
		return nil, 0, fmt.Errorf(`line 1: no column is named %q: the first line names the columns, such as "device,site"`, deviceColumn)
	}
	if err := contracts.CheckPeoplesLabels(labels); err != nil {
		return nil, 0, fmt.Errorf("line 1: every other column is a label: %w", err)
	}
	return columns, at, nil
}

func parseRow(columns []string, at int, cells []string, common contracts.Labels) (Row, error) {
	device, err := contracts.ParseDeviceID(strings.TrimSpace(cells[at]))
	if err != nil {
		return Row{}, err
	}
	labels := maps.Clone(common)
	if labels == nil {
		labels = contracts.Labels{}
	}
	for i, cell := range cells {
		if cell = strings.TrimSpace(cell); i != at && cell != "" {
			labels[strings.Clone(columns[i])] = strings.Clone(cell)
		}
	}
	return Row{Device: contracts.DeviceID(strings.Clone(string(device))), Labels: labels}, contracts.CheckPeoplesLabels(labels)
}
