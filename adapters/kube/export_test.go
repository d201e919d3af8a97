package kube

// What tests outside the package look at.
var (
	SpecToDomain           = specToDomain
	SpecFromDomain         = specFromDomain
	DeploymentFromResource = deploymentFromResource
)
