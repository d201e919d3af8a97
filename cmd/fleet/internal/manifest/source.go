package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
)

// stdinName stands for the standard input in mistakes.
const stdinName = "stdin"

// Mistakes are all things wrong with what was read. Nothing was applied.
type Mistakes []error

// Error is one sentence, or one line for each mistake.
func (m Mistakes) Error() string {
	if len(m) == 1 {
		return m[0].Error() + "; nothing was applied"
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%d mistakes, nothing was applied:", len(m))
	for _, mistake := range m {
		out.WriteString("\n  " + mistake.Error())
	}
	return out.String()
}

// Unwrap returns the single mistakes.
func (m Mistakes) Unwrap() []error { return m }

// Load reads files, directories (their .yaml, .yml and .json files, not those
// further down) and, for "-", stdin. It returns all documents in the order
// given, or Mistakes.
func Load(paths []string, stdin io.Reader) ([]Document, error) {
	var documents []Document
	var mistakes Mistakes
	for _, path := range paths {
		files, err := expand(path)
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		for _, file := range files {
			data, err := readFile(file, stdin)
			if err != nil {
				mistakes = append(mistakes, err)
				continue
			}
			if file == "-" {
				file = stdinName
			}
			more, wrong := Read(file, data)
			documents = append(documents, more...)
			for _, mistake := range wrong {
				mistakes = append(mistakes, mistake)
			}
		}
	}
	mistakes = append(mistakes, findTwins(documents)...)
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return documents, nil
}

// expand returns the files that a path stands for.
func expand(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	var files []string
	for _, entry := range entries {
		if !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(entry.Name())) {
			files = append(files, filepath.Join(path, entry.Name()))
		}
	}
	if len(files) == 0 {
		return nil, &Mistake{File: path, Reason: "holds no .yaml, .yml or .json file"}
	}
	return files, nil
}

func readFile(path string, stdin io.Reader) ([]byte, error) {
	source := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, fileError(path, err)
		}
		defer func() { _ = file.Close() }()
		source = file
	}
	// One byte more than allowed, so that too much is seen and refused.
	data, err := io.ReadAll(io.LimitReader(source, MaxFileBytes+1))
	if err != nil {
		return nil, fileError(path, err)
	}
	return data, nil
}

// fileError is "FILE: reason" instead of the system call that failed.
func fileError(path string, err error) error {
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		err = cause.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// findTwins finds deployments that are declared twice: which of the two is
// meant would depend on the order of files.
func findTwins(documents []Document) []error {
	var twins []error
	first := map[contracts.DeploymentName]Document{}
	for _, document := range documents {
		name := document.Deployment.Name
		if other, ok := first[name]; ok {
			twins = append(twins, &Mistake{
				File: document.File, Line: document.Line, Field: "metadata.name",
				Reason: fmt.Sprintf("%q is declared already in %s:%d", name, other.File, other.Line),
			})
			continue
		}
		first[name] = document
	}
	return twins
}
