package boundary

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// The generated part of the linter configuration stands between these two lines.
const (
	depguardBegin = "        # BEGIN depguard rules, written by `make depguard` from tools/boundary/table.go\n"
	depguardEnd   = "        # END depguard rules\n"
)

// UpdateDepguard returns the linter configuration with its depguard rules rewritten from
// the table, so that editors show a forbidden import while it is typed.
func UpdateDepguard(config []byte, table []Rule) ([]byte, error) {
	before, rest, ok := bytes.Cut(config, []byte(depguardBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(depguardEnd))
	if !ok || !ok2 {
		return nil, errors.New("the linter configuration has no BEGIN and END depguard lines: restore them from version control")
	}
	var rules strings.Builder
	for _, rule := range table {
		if !rule.Free {
			writeDepguard(&rules, rule)
		}
	}
	return slices.Concat(before, []byte(depguardBegin+rules.String()+depguardEnd), after), nil
}

// writeDepguard writes the module's rules: its code, its tests, and its package exceptions.
// A rule applies to a file that any of its patterns matches, so "tests of this module" is one pattern.
func writeDepguard(out *strings.Builder, rule Rule) {
	base := []string{"$gostd", Prefix + rule.Module}
	for _, sibling := range rule.Siblings {
		base = append(base, Prefix+sibling)
	}
	name := strings.ReplaceAll(rule.Module, "/", "-")
	tree := "${config-path}/" + rule.Module + "/**"
	main := []string{tree, "!$test"}
	tests := []string{tree + "_test.go"}
	for _, p := range rule.Packages {
		inner := "${config-path}/" + path.Join(rule.Module, p.Dir) + "/**"
		main, tests = append(main, "!"+inner), append(tests, "!"+inner)
		writeDepguardRule(out, name+"-"+strings.ReplaceAll(p.Dir, "/", "-"), []string{inner},
			slices.Concat(base, rule.External, rule.Test, p.External))
	}
	writeDepguardRule(out, name, main, slices.Concat(base, rule.External))
	writeDepguardRule(out, name+"-tests", tests, slices.Concat(base, rule.External, rule.Test))
}

func writeDepguardRule(out *strings.Builder, name string, files, allow []string) {
	fmt.Fprintf(out, "        %s:\n          list-mode: strict\n          files:\n", name)
	for _, file := range files {
		fmt.Fprintf(out, "            - %q\n", file)
	}
	out.WriteString("          allow:\n")
	slices.Sort(allow)
	for _, prefix := range slices.Compact(allow) {
		fmt.Fprintf(out, "            - %s\n", prefix)
	}
}
