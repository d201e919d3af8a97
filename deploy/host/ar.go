package host

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/nationtech/harmony-fleet/domain"
)

// arMember returns the content of the first member of a Unix archive whose name
// begins so, and that name.
func arMember(archive []byte, prefix string) (string, []byte, error) {
	const magic, headerSize = "!<arch>\n", 60
	rest, ok := bytes.CutPrefix(archive, []byte(magic))
	if !ok {
		return "", nil, domain.Errorf(domain.ErrInvalid, "it is not a Debian package")
	}
	for len(rest) >= headerSize {
		header := string(rest[:headerSize])
		rest = rest[headerSize:]
		name := strings.TrimRight(strings.TrimSpace(header[:16]), "/")
		size, err := strconv.Atoi(strings.TrimSpace(header[48:58]))
		if err != nil || size < 0 || size > len(rest) {
			return "", nil, domain.Errorf(domain.ErrInvalid, "the package is cut off or damaged")
		}
		if strings.HasPrefix(name, prefix) {
			return name, rest[:size], nil
		}
		rest = rest[min(size+size%2, len(rest)):]
	}
	return "", nil, domain.Errorf(domain.ErrInvalid, "the package has no part %q", prefix)
}
