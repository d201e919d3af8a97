package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// selection is a module's directory, relative to the root, and the package patterns to test in it.
type selection struct {
	dir      string
	patterns []string
}

// workModules returns the directories that go.work uses, relative to root.
func workModules(root string) ([]string, error) {
	name := filepath.Join(root, "go.work")
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the workspace: %w", err)
	}
	work, err := modfile.ParseWork(name, data, nil)
	if err != nil {
		return nil, fmt.Errorf("parse the workspace: %w", err)
	}
	var dirs []string
	for _, use := range work.Use {
		dirs = append(dirs, path.Clean(filepath.ToSlash(use.Path)))
	}
	return dirs, nil
}

// selectPackages turns root-relative patterns into patterns of the modules that hold
// them, modules in their given order. No pattern selects everything.
func selectPackages(modules, patterns []string) ([]selection, error) {
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	selected := map[string][]string{}
	for _, pattern := range patterns {
		dir, recursive := strings.CutSuffix(path.Clean(filepath.ToSlash(pattern)), "...")
		dir = path.Clean(dir)
		found := false
		for _, module := range modules {
			switch rel, inside := below(dir, module); {
			case inside && innermost(modules, dir) == module:
				p := "./" + rel
				if recursive {
					p = "./" + path.Join(rel, "...")
				}
				selected[module] = append(selected[module], p)
				found = true
			case recursive:
				if _, covers := below(module, dir); covers && module != dir {
					selected[module] = append(selected[module], "./...")
					found = true
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("%s is in no module of go.work; its modules are %s", pattern, strings.Join(modules, ", "))
		}
	}
	var list []selection
	for _, module := range modules {
		if patterns := selected[module]; len(patterns) > 0 {
			list = append(list, selection{dir: module, patterns: patterns})
		}
	}
	return list, nil
}

// below returns dir relative to base, and whether dir is base or lies below it.
func below(dir, base string) (string, bool) {
	if dir == base {
		return "", true
	}
	if base == "." {
		return dir, true
	}
	return strings.CutPrefix(dir, base+"/")
}

// innermost returns the module closest around dir, "" when there is none.
func innermost(modules []string, dir string) string {
	for {
		if slices.Contains(modules, dir) {
			return dir
		}
		if dir == "." || dir == "/" {
			return ""
		}
		dir = path.Dir(dir)
	}
}
