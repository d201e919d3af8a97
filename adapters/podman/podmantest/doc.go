// Package podmantest starts real container engines for tests: a Podman service
// and a Docker daemon, each in a directory of its own, and a registry with
// images made from a small static program. It needs root and the packages of
// the distribution; without them tests are skipped, saying what is missing,
// and fail where CI=true.
package podmantest
