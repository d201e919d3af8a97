package podman

import "strings"

// reference is an image's name in its parts.
type reference struct {
	registry string // "docker.io" when left out
	path     string // "library/" added for Docker Hub's own
	tag      string
	digest   string
}

// parseReference reads names the way both engines do.
func parseReference(image string) reference {
	var ref reference
	name, digest, _ := strings.Cut(image, "@")
	ref.digest = digest
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name, ref.tag = name[:colon], name[colon+1:]
	}
	first, rest, slash := strings.Cut(name, "/")
	if slash && (strings.ContainsAny(first, ".:") || first == "localhost") {
		ref.registry, ref.path = first, rest
	} else {
		ref.registry, ref.path = "docker.io", name
	}
	if ref.registry == "index.docker.io" {
		ref.registry = "docker.io"
	}
	if ref.registry == "docker.io" && !strings.Contains(ref.path, "/") {
		ref.path = "library/" + ref.path
	}
	if ref.tag == "" && ref.digest == "" {
		ref.tag = "latest"
	}
	return ref
}

func (r reference) repository() string { return r.registry + "/" + r.path }

// version is what to pull: a digest, when there is one, over the tag.
func (r reference) version() string {
	if r.digest != "" {
		return r.digest
	}
	return r.tag
}

// canonical gives a reference the form that both engines understand: engines
// refuse, or read differently, a name with both a tag and a digest.
func canonical(image string) string {
	name, digest, pinned := strings.Cut(image, "@")
	if !pinned {
		return image
	}
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	return name + "@" + digest
}

// digestOf returns the digest of the image that ref names: the pinned one, or
// the first that the engine knows under the same repository; empty for an
// image that came from no registry.
func digestOf(image string, repoDigests []string) string {
	ref := parseReference(image)
	if ref.digest != "" {
		return ref.digest
	}
	for _, known := range repoDigests {
		if other := parseReference(known); other.repository() == ref.repository() {
			return other.digest
		}
	}
	return ""
}
