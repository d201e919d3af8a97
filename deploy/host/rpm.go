package host

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"

	"github.com/nationtech/harmony-fleet/domain"
)

// Tags of an RPM package's headers.
const (
	rpmSigMD5  = 1004
	rpmName    = 1000
	rpmVersion = 1001
	rpmRelease = 1002
	rpmArch    = 1022
)

// ReadRPM reads the description of an RPM package.
func ReadRPM(file []byte) (Package, error) {
	pkg := Package{Format: FormatRPM, File: file}
	const leadSize = 96
	if len(file) < leadSize || !bytes.HasPrefix(file, []byte{0xed, 0xab, 0xee, 0xdb}) {
		return pkg, domain.Errorf(domain.ErrInvalid, "it is not an RPM package")
	}
	signature, used, err := rpmHeader(file[leadSize:])
	if err != nil {
		return pkg, err
	}
	used = (used + 7) / 8 * 8 // the next header is aligned
	if leadSize+used > len(file) {
		return pkg, errRPM()
	}
	header, _, err := rpmHeader(file[leadSize+used:])
	if err != nil {
		return pkg, err
	}
	if sum := signature[rpmSigMD5]; len(sum) >= 16 {
		pkg.build = hex.EncodeToString(sum[:16])
	}
	pkg.Name, pkg.Architecture = rpmText(header[rpmName]), rpmText(header[rpmArch])
	pkg.Version = rpmText(header[rpmVersion]) + "-" + rpmText(header[rpmRelease])
	if pkg.Name == "" || pkg.Version == "-" || pkg.Architecture == "" || pkg.build == "" {
		return pkg, domain.Errorf(domain.ErrInvalid, "the package does not tell its name, version, architecture and digest")
	}
	return pkg, nil
}

func errRPM() error { return domain.Errorf(domain.ErrInvalid, "the package is cut off or damaged") }

// rpmHeader returns the values of a header by tag, each with all that follows
// it, and the header's length.
func rpmHeader(data []byte) (map[uint32][]byte, int, error) {
	const introSize, entrySize, maxEntries = 16, 16, 1 << 16
	if len(data) < introSize || !bytes.HasPrefix(data, []byte{0x8e, 0xad, 0xe8}) {
		return nil, 0, errRPM()
	}
	entries := int(binary.BigEndian.Uint32(data[8:]))
	size := int(binary.BigEndian.Uint32(data[12:]))
	if entries > maxEntries || size > len(data) {
		return nil, 0, errRPM()
	}
	store := introSize + entries*entrySize
	if store+size > len(data) {
		return nil, 0, errRPM()
	}
	values := map[uint32][]byte{}
	for i := range entries {
		entry := data[introSize+i*entrySize:]
		offset := binary.BigEndian.Uint32(entry[8:])
		if int64(offset) > int64(size) {
			return nil, 0, errRPM()
		}
		values[binary.BigEndian.Uint32(entry)] = data[store+int(offset) : store+size]
	}
	return values, store + size, nil
}

// rpmText is a string up to its closing zero.
func rpmText(value []byte) string {
	text, _, ok := bytes.Cut(value, []byte{0})
	if !ok {
		return ""
	}
	return string(text)
}
