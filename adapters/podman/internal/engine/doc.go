// Package engine is a small client of the Docker-compatible API that Podman
// 4.3 and later and Docker 20.10 and later serve on a unix socket. It knows
// nothing of fleets: it does one call at a time, decodes what is needed of the
// answer, and gives every error a kind of the domain.
package engine
