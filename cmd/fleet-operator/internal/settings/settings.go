// Package settings gives flags their values from the command line, the
// environment or a file, in that order.
package settings

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Apply sets each flag that the command line left alone from the environment
// variable PREFIX_FLAG_NAME, or else from the key flag-name of the YAML file.
// A key that is no flag is an error that names it. An empty path is no file.
func Apply(flags *pflag.FlagSet, prefix string, getenv func(string) (string, bool), path string) error {
	fromFile, err := readFile(path)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(fromFile)) {
		if flags.Lookup(key) == nil {
			return fmt.Errorf("%s:%d: unknown key %q: remove it or correct its name", path, fromFile[key].line, key)
		}
	}
	var problems []error
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed {
			return
		}
		variable := EnvName(prefix, flag.Name)
		if value, ok := getenv(variable); ok {
			if err := flags.Set(flag.Name, value); err != nil {
				problems = append(problems, fmt.Errorf("environment variable %s: %w", variable, err))
			}
			return
		}
		if entry, ok := fromFile[flag.Name]; ok {
			if err := flags.Set(flag.Name, entry.value); err != nil {
				problems = append(problems, fmt.Errorf("%s:%d: %s: %w", path, entry.line, flag.Name, err))
			}
		}
	})
	return errors.Join(problems...)
}

// EnvName returns the environment variable of a flag: PREFIX_FLAG_NAME.
func EnvName(prefix, flag string) string {
	return prefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// entry is one key's value in a file; a list is joined with commas, as the
// flag would be written.
type entry struct {
	value string
	line  int
}

func readFile(path string) (map[string]entry, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	if root.IsZero() {
		return nil, nil
	}
	mapping := root.Content[0]
	if mapping.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: the configuration must be a mapping of flag names to values", path, mapping.Line)
	}
	entries := map[string]entry{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		if _, twice := entries[key.Value]; twice {
			return nil, fmt.Errorf("%s:%d: key %q is set twice", path, key.Line, key.Value)
		}
		text, err := scalar(value)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", path, value.Line, key.Value, err)
		}
		entries[key.Value] = entry{value: text, line: key.Line}
	}
	return entries, nil
}

func scalar(node *yaml.Node) (string, error) {
	switch node.Kind {
	case yaml.ScalarNode:
		return node.Value, nil
	case yaml.SequenceNode:
		items := make([]string, len(node.Content))
		for i, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				return "", errors.New("must be a list of plain values")
			}
			items[i] = item.Value
		}
		return strings.Join(items, ","), nil
	default:
		return "", errors.New("must be a plain value or a list of them")
	}
}
