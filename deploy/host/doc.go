// Package host runs scripts on hosts: over SSH, with the host's key verified, or
// on this machine. A host needs a POSIX shell and sha256sum, and nothing that
// was installed for it: files are uploaded through the shell as well.
package host
