package agent

import (
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Files of a DirStore.
const (
	desiredFile   = "desired-state.json"
	reportFile    = "report.json"
	corruptSuffix = ".corrupt"
)

// DirStore is a Store in a directory of its own: desired-state.json holds the
// signed envelope as received, report.json the last report. A file that cannot be
// decoded is renamed to *.corrupt, logged, and counts as absent.
type DirStore struct {
	dir   string
	files files
	log   *slog.Logger
}

var _ Store = (*DirStore)(nil)

// OpenDirStore makes the directory, with mode 0700, unless it is there, and
// removes what an interrupted write left in it. A nil logger logs nothing. The
// error is of kind ErrUnavailable.
func OpenDirStore(dir string, log *slog.Logger) (*DirStore, error) {
	return openDirStore(dir, log, diskFiles{})
}

func openDirStore(dir string, log *slog.Logger, files files) (*DirStore, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := files.prepare(dir); err != nil {
		return nil, domain.WrapError(domain.ErrUnavailable, err, "the agent's state directory %s cannot be used", dir)
	}
	return &DirStore{dir: dir, files: files, log: log}, nil
}

// LoadDesired implements Store.
func (s *DirStore) LoadDesired() ([]byte, error) {
	data, err := s.read(desiredFile)
	if err != nil || data == nil {
		return nil, err
	}
	if _, err := contracts.Decode[contracts.Signed](data); err != nil {
		return nil, s.setAside(desiredFile, err)
	}
	return data, nil
}

// SaveDesired implements Store. Errors are of kind ErrUnavailable.
func (s *DirStore) SaveDesired(envelope []byte) error { return s.write(desiredFile, envelope) }

// LoadReport implements Store.
func (s *DirStore) LoadReport() (contracts.DeviceReport, error) {
	data, err := s.read(reportFile)
	if err != nil || data == nil {
		return contracts.DeviceReport{}, err
	}
	report, err := contracts.Decode[contracts.DeviceReport](data)
	if err != nil {
		return contracts.DeviceReport{}, s.setAside(reportFile, err)
	}
	return report, nil
}

// SaveReport implements Store. Errors are of kind ErrUnavailable, or ErrInvalid
// when the report does not validate.
func (s *DirStore) SaveReport(report contracts.DeviceReport) error {
	data, err := contracts.Encode(report)
	if err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "%s was not written", filepath.Join(s.dir, reportFile))
	}
	return s.write(reportFile, data)
}

// read returns nil when there is no such file.
func (s *DirStore) read(name string) ([]byte, error) {
	path := filepath.Join(s.dir, name)
	data, err := s.files.read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, domain.WrapError(domain.ErrUnavailable, err, "%s cannot be read", path)
	}
	if data == nil {
		data = []byte{} // an empty file is a truncated one, not an absent one
	}
	return data, nil
}

func (s *DirStore) write(name string, data []byte) error {
	path := filepath.Join(s.dir, name)
	return domain.WrapError(domain.ErrUnavailable, writeAtomic(s.files, path, data), "%s was not written", path)
}

// setAside keeps a broken file for people to look at.
func (s *DirStore) setAside(name string, cause error) error {
	path := filepath.Join(s.dir, name)
	s.log.Error("file cannot be decoded, is set aside and counts as absent", "file", path, "as", path+corruptSuffix, "error", cause)
	return domain.WrapError(domain.ErrUnavailable, s.files.rename(path, path+corruptSuffix), "%s is corrupt and could not be set aside", path)
}
