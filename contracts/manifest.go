package contracts

// The one manifest shape that kubectl apply and fleet apply share.
const (
	APIVersion     = "fleet.nationtech.io/v1alpha1"
	KindDeployment = "Deployment"
)

// Manifest is a deployment as a person writes it, decoded with DecodeStrict.
type Manifest struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Metadata   ManifestMetadata `json:"metadata"`
	Spec       DeploymentSpec   `json:"spec"`
}

// ManifestMetadata names a manifest.
type ManifestMetadata struct {
	Name string `json:"name"`
	// Namespace matters to Kubernetes alone.
	Namespace   string            `json:"namespace,omitempty"`
	Labels      Labels            `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Validate checks everything that can be known before a device is.
func (m Manifest) Validate() error {
	if m.APIVersion != APIVersion {
		return invalid("apiVersion", "must be %q, is %q", APIVersion, m.APIVersion)
	}
	if m.Kind != KindDeployment {
		return invalid("kind", "must be %q, is %q", KindDeployment, m.Kind)
	}
	if reason := checkLabel(m.Metadata.Name); reason != "" {
		return invalid("metadata.name", "%s", reason)
	}
	if err := m.Metadata.Labels.Validate(); err != nil {
		return in("metadata.labels", err)
	}
	return in("spec", m.Spec.Validate())
}
