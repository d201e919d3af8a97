package boundary

import (
	"cmp"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
)

// Workspace is what the check needs to know of a source tree.
type Workspace struct {
	// Used are the module directories listed in go.work.
	Used []string
	// Replaced are the module paths that go.work itself replaces.
	Replaced []string
	// Modules are all modules found in the tree, listed in go.work or not, by directory.
	Modules []Module
}

// Module is one go.mod and the Go files it governs.
type Module struct {
	// Dir is the module's directory, slash-separated and relative to the root.
	Dir string
	// Path is the module path that its go.mod declares.
	Path     string
	Requires []Require
	Replaces []Replace
	Files    []File
}

// Require is one requirement of a go.mod.
type Require struct {
	Path     string
	Indirect bool
}

// Replace is one replacement of a go.mod; New is the directory or module path it points to.
type Replace struct {
	Old, New string
}

// File is one Go file with what it imports.
type File struct {
	// Name is the file's path inside its module.
	Name    string
	Imports []string
}

// Package returns the directory of the file's package inside the module, "." for its root.
func (f File) Package() string { return path.Dir(f.Name) }

// Test reports whether only the test binary compiles the file.
func (f File) Test() bool { return strings.HasSuffix(f.Name, "_test.go") }

// Load reads the source tree below root, which holds a go.work. Files are parsed
// rather than listed by the go command, so that no build tag hides an import.
// It needs neither the network nor a tree that compiles.
func Load(root string) (Workspace, error) {
	var w Workspace
	work := filepath.Join(root, "go.work")
	data, err := os.ReadFile(work)
	if err != nil {
		return w, fmt.Errorf("read the workspace: %w", err)
	}
	parsed, err := modfile.ParseWork(work, data, nil)
	if err != nil {
		return w, fmt.Errorf("parse the workspace: %w", err)
	}
	for _, use := range parsed.Use {
		w.Used = append(w.Used, path.Clean(filepath.ToSlash(use.Path)))
	}
	for _, replace := range parsed.Replace {
		w.Replaced = append(w.Replaced, replace.Old.Path)
	}

	modules := map[string]*Module{}
	err = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case entry.IsDir() && rel != "." && skipped(entry.Name()):
			return fs.SkipDir
		case entry.IsDir():
			module, err := loadModule(file, rel)
			if module != nil {
				modules[rel] = module
			}
			return err
		case strings.HasSuffix(rel, ".go") && !strings.HasPrefix(entry.Name(), ".") && !strings.HasPrefix(entry.Name(), "_"):
			return loadFile(modules, file, rel)
		}
		return nil
	})
	if err != nil {
		return w, fmt.Errorf("read the source tree: %w", err)
	}
	for _, module := range modules {
		w.Modules = append(w.Modules, *module)
	}
	slices.SortFunc(w.Modules, func(a, b Module) int { return cmp.Compare(a.Dir, b.Dir) })
	return w, nil
}

// skipped reports the directories that the go command does not look into either.
func skipped(name string) bool {
	return name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}

// loadModule reads dir/go.mod; it returns nil when there is none.
func loadModule(dir, rel string) (*Module, error) {
	name := filepath.Join(dir, "go.mod")
	data, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	parsed, err := modfile.Parse(name, data, nil)
	if err != nil {
		return nil, err
	}
	if parsed.Module == nil {
		return nil, fmt.Errorf("%s declares no module path: add a module line", name)
	}
	module := &Module{Dir: rel, Path: parsed.Module.Mod.Path}
	for _, r := range parsed.Require {
		module.Requires = append(module.Requires, Require{Path: r.Mod.Path, Indirect: r.Indirect})
	}
	for _, r := range parsed.Replace {
		module.Replaces = append(module.Replaces, Replace{Old: r.Old.Path, New: r.New.Path})
	}
	return module, nil
}

// loadFile adds the file to the innermost module around it; files outside any module are not built.
func loadFile(modules map[string]*Module, file, rel string) error {
	dir := path.Dir(rel)
	for modules[dir] == nil {
		if dir == "." {
			return nil
		}
		dir = path.Dir(dir)
	}
	module := modules[dir]
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	loaded := File{Name: strings.TrimPrefix(strings.TrimPrefix(rel, dir), "/")}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return fmt.Errorf("%s: import %s: %w", file, spec.Path.Value, err)
		}
		loaded.Imports = append(loaded.Imports, imported)
	}
	module.Files = append(module.Files, loaded)
	return nil
}
