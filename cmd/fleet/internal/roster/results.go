package roster

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// resultsHeader begins a file of results.
const resultsHeader = "device,token,expiresAt\n"

// Results are the tokens that were made, in a CSV that only its owner can read.
// A token is written before it becomes valid, so that none is lost.
type Results struct {
	file   *os.File
	tokens map[contracts.DeviceID]string
}

// OpenResults opens a file, or makes it, mode 0600. One that others can read is
// refused. What an interrupted run left is read; a line that it left unfinished
// is removed.
func OpenResults(path string) (*Results, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("file of results: %w", err)
	}
	r := &Results{file: file, tokens: map[contracts.DeviceID]string{}}
	if err := r.load(path); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return r, nil
}

func (r *Results) load(path string) error {
	info, err := r.file.Stat()
	if err != nil {
		return fmt.Errorf("file of results: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("file of results %s has mode %04o: others could read the tokens; run `chmod 600 %s`, or name another file", path, mode, path)
	}
	data, err := io.ReadAll(r.file)
	if err != nil {
		return fmt.Errorf("file of results: %w", err)
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	if len(whole) < len(data) {
		if err := r.file.Truncate(int64(len(whole))); err != nil {
			return fmt.Errorf("file of results: %w", err)
		}
	}
	if len(whole) == 0 {
		_, err := r.file.WriteString(resultsHeader)
		return err
	}
	if r.tokens, err = parseResults(whole); err != nil {
		return fmt.Errorf("%s is not a file of results: %w", path, err)
	}
	return nil
}

// parseResults reads the last token of each device. No error quotes a token.
func parseResults(data []byte) (map[contracts.DeviceID]string, error) {
	rest, ok := bytes.CutPrefix(data, []byte(resultsHeader))
	if !ok {
		return nil, fmt.Errorf("its first line must be %q", strings.TrimSpace(resultsHeader))
	}
	tokens := map[contracts.DeviceID]string{}
	reader := csv.NewReader(bytes.NewReader(rest))
	reader.FieldsPerRecord = 3
	for {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return tokens, nil
		}
		if err != nil {
			if parse, ok := errors.AsType[*csv.ParseError](err); ok {
				return nil, fmt.Errorf("line %d: %w", parse.Line+1, parse.Err)
			}
			return nil, err
		}
		line, _ := reader.FieldPos(0)
		token, err := contracts.ParseEnrollmentToken(cells[1])
		if err != nil || string(token.Device) != cells[0] {
			return nil, fmt.Errorf("line %d: the second column must be the token of the device in the first", line+1)
		}
		tokens[token.Device] = cells[1]
	}
}

// Token returns the token that was made for a device, "" when there is none or
// it expires within the time.
func (r *Results) Token(device contracts.DeviceID, within time.Duration) string {
	token, err := contracts.ParseEnrollmentToken(r.tokens[device])
	if err != nil || time.Until(token.ExpiresAt) <= within {
		return ""
	}
	return r.tokens[device]
}

// Add writes tokens, and returns once they are on the disk.
func (r *Results) Add(tokens []string) error {
	var text strings.Builder
	for _, token := range tokens {
		parsed, err := contracts.ParseEnrollmentToken(token)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%s,%s,%s\n", parsed.Device, token, parsed.ExpiresAt.Format(time.RFC3339))
		r.tokens[parsed.Device] = token
	}
	if text.Len() == 0 {
		return nil
	}
	if _, err := r.file.WriteString(text.String()); err != nil {
		return fmt.Errorf("file of results: %w", err)
	}
	if err := r.file.Sync(); err != nil {
		return fmt.Errorf("file of results: %w", err)
	}
	return nil
}

// Close closes the file.
func (r *Results) Close() error { return r.file.Close() }
