package kube

import (
	"embed"
	"fmt"
	"path"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

//go:embed crds/*.yaml
var crdFiles embed.FS

// CRDFiles returns the definitions of Device and Deployment as YAML documents.
// They are generated from package v1alpha1.
func CRDFiles() ([][]byte, error) {
	entries, err := crdFiles.ReadDir("crds")
	if err != nil {
		return nil, fmt.Errorf("embedded CRDs: %w", err)
	}
	files := make([][]byte, 0, len(entries))
	for _, entry := range entries {
		data, err := crdFiles.ReadFile(path.Join("crds", entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("embedded CRDs: %w", err)
		}
		files = append(files, data)
	}
	return files, nil
}

// CRDs returns the same, decoded.
func CRDs() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	files, err := CRDFiles()
	if err != nil {
		return nil, err
	}
	crds := make([]*apiextensionsv1.CustomResourceDefinition, len(files))
	for i, file := range files {
		crds[i] = new(apiextensionsv1.CustomResourceDefinition)
		if err := yaml.Unmarshal(file, crds[i]); err != nil {
			return nil, fmt.Errorf("embedded CRD %d: %w", i+1, err)
		}
	}
	return crds, nil
}
