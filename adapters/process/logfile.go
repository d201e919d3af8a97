package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
)

// logFile is what a service has written to stdout and stderr. The process
// itself holds the file and appends to it, so an agent that ends takes nothing
// from it. For the same reason the file cannot be replaced: it is cut. Once it
// exceeds the limit its tail is copied to a second file and it is truncated.
//
// Limits: what is written between the end of the copy and the cut, some
// microseconds, is lost; a crash of the agent in just that time leaves lines
// in both files; and nothing cuts the file while no agent runs, or between two
// looks of it a second apart. A line longer than the limit is kept in part.
type logFile struct {
	path  string
	limit int64 // of each of the two files, in bytes

	mu sync.Mutex
	// base is the position of the live file's first byte. Positions rise for as
	// long as this runtime lives and stay valid across a cut.
	base int64
}

func newLogFile(path string, limit int64) *logFile {
	l := &logFile{path: path, limit: limit}
	l.base = fileSize(l.previous())
	return l
}

func (l *logFile) previous() string { return l.path + ".1" }

// open is for the process that shall write.
func (l *logFile) open() (*os.File, error) {
	return os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, filePermission)
}

// cut copies and truncates the file when it exceeds the limit.
func (l *logFile) cut() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := fileSize(l.path)
	if size <= l.limit {
		return nil
	}
	live, err := os.OpenFile(l.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("cut the log: %w", err)
	}
	defer live.Close()
	temporary := l.previous() + ".tmp"
	kept, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, filePermission)
	if err != nil {
		return fmt.Errorf("cut the log: %w", err)
	}
	defer kept.Close()
	from := lineStart(live, max(0, size-l.limit))
	copied, err := io.Copy(kept, io.NewSectionReader(live, from, size-from))
	if err == nil {
		err = os.Rename(temporary, l.previous())
	}
	if err != nil {
		_ = os.Remove(temporary)
		return fmt.Errorf("cut the log: %w", err)
	}
	// What came meanwhile; bounded, for a process may write faster than this.
	late, lateErr := io.Copy(kept, io.NewSectionReader(live, from+copied, l.limit))
	err = live.Truncate(0)
	if err != nil {
		// The next call tries again; until then the lines are in both files.
		return fmt.Errorf("cut the log: %w", err)
	}
	l.base += from + copied + late
	return lateErr
}

// lineStart returns the beginning of the first line at or after the offset, or
// the offset when none begins soon.
func lineStart(file io.ReaderAt, offset int64) int64 {
	if offset == 0 {
		return 0
	}
	chunk := make([]byte, 64<<10)
	n, _ := file.ReadAt(chunk, offset-1)
	if i := bytes.IndexByte(chunk[:n], '\n'); i >= 0 {
		return offset + int64(i)
	}
	return offset
}

// bounds returns the position of the oldest byte kept and that of the end.
func (l *logFile) bounds() (start, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.base - fileSize(l.previous()), l.base + fileSize(l.path)
}

// readAt reads at the position, or at the nearest later one that is kept, and
// returns the position after what it read. It reads 0 bytes at the end.
func (l *logFile) readAt(p []byte, position int64) (int, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	previous := fileSize(l.previous())
	position = max(position, l.base-previous)
	if position > l.base+fileSize(l.path) {
		position = l.base // somebody else emptied the file
	}
	if position < l.base {
		n, err := readFileAt(l.previous(), p[:min(int64(len(p)), l.base-position)], position-l.base+previous)
		return n, position + int64(n), err
	}
	n, err := readFileAt(l.path, p, position-l.base)
	return n, position + int64(n), err
}

// tail returns where the last lines begin. A last line without a line end
// counts.
func (l *logFile) tail(lines int) (int64, error) {
	start, end := l.bounds()
	if lines < 0 {
		return start, nil
	}
	if lines == 0 {
		return end, nil
	}
	chunk := make([]byte, 64<<10)
	for high := end; high > start; {
		low := max(start, high-int64(len(chunk)))
		part := chunk[:high-low]
		for filled := 0; filled < len(part); {
			n, next, err := l.readAt(part[filled:], low+int64(filled))
			if err != nil {
				return 0, err
			}
			if n == 0 || next != low+int64(filled+n) {
				return next, nil // cut meanwhile: what is kept is later
			}
			filled += n
		}
		for i, one := range slices.Backward(part) {
			if one != '\n' || low+int64(i) == end-1 {
				continue
			}
			if lines--; lines == 0 {
				return low + int64(i) + 1, nil
			}
		}
		high = low
	}
	return start, nil
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func readFileAt(path string, p []byte, offset int64) (int, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the log: %w", err)
	}
	defer file.Close()
	n, err := file.ReadAt(p, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
