package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// entry is one line of the journal; one field is set. A later line about the
// same object replaces the earlier one.
type entry struct {
	Machine *machine `json:"machine,omitempty"`
	Folder  *folder  `json:"folder,omitempty"`
	// Gone is the moref of what was removed.
	Gone string `json:"gone,omitempty"`
	// Highest is the highest number that any moref of ours had, written when
	// the journal is compacted.
	Highest int64 `json:"highest,omitempty"`
}

// contents is what a journal says when it is read to its end.
type contents struct {
	machines map[string]machine
	folders  map[string]folder
	highest  int64
}

func newContents() *contents {
	return &contents{machines: map[string]machine{}, folders: map[string]folder{}}
}

func (c *contents) apply(e entry) {
	switch {
	case e.Machine != nil:
		c.machines[e.Machine.Ref] = *e.Machine
		c.highest = max(c.highest, e.Machine.serial())
	case e.Folder != nil:
		c.folders[e.Folder.Ref] = *e.Folder
		c.highest = max(c.highest, serial(e.Folder.Ref))
	case e.Gone != "":
		delete(c.machines, e.Gone)
		delete(c.folders, e.Gone)
	}
	c.highest = max(c.highest, e.Highest)
}

// foldersInOrder has parents before their children: a child is always the
// younger one.
func (c *contents) foldersInOrder() []folder {
	var out []folder
	for _, f := range c.folders {
		out = append(out, f)
	}
	return bySerial(out, func(f folder) string { return f.Ref })
}

func (c *contents) machinesInOrder() []machine {
	var out []machine
	for _, m := range c.machines {
		out = append(out, m)
	}
	return bySerial(out, func(m machine) string { return m.Ref })
}

// journal is the append-only file behind the inventory. A record is with the
// kernel before its task is reported done, so that kill -9 loses nothing; it
// is not synced, because the simulated vCenter need not outlive a power cut.
type journal struct {
	mu   sync.Mutex
	name string
	lock *os.File
	file *os.File
	size int64
	// base is the size after the last compaction.
	base int64
	// lines holds the newest line of each object, for compaction.
	lines   map[string][]byte
	highest int64
	err     error
}

// compactAt is how large a journal must be, beside four times what it was
// after the last compaction, to be worth writing anew.
const compactAt = 8 << 20

// openJournal reads the journal, drops a half-written last line, and compacts.
// Only one process may have it: another would replace the file under the
// first one's feet.
func openJournal(ctx context.Context, name string) (*journal, *contents, error) {
	lock, err := lockFile(ctx, name+".lock")
	if err != nil {
		return nil, nil, err
	}
	j, kept, err := readJournal(name)
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	j.lock = lock
	return j, kept, nil
}

// A process that was killed a moment ago may hold the lock still.
const (
	lockTries = 20
	lockPoll  = 100 * time.Millisecond
)

// lockFile takes a lock that the kernel gives back when the process ends,
// however it ends.
func lockFile(ctx context.Context, name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the journal: %w", err)
	}
	for range lockTries {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return f, nil
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		}
	}
	err = fmt.Errorf("the data folder %s is in use by another simulated world: %w", filepath.Dir(name), err)
	return nil, errors.Join(err, f.Close())
}

func readJournal(name string) (*journal, *contents, error) {
	body, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("read the journal: %w", err)
	}
	j := &journal{name: name, lines: map[string][]byte{}}
	kept := newContents()
	for number := 1; len(body) > 0; number++ {
		line, rest, whole := bytes.Cut(body, []byte("\n"))
		body = rest
		if !whole {
			break // its task was never reported done
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, nil, fmt.Errorf("%s:%d: the journal is damaged (make reset starts anew): %w", name, number, err)
		}
		kept.apply(e)
		j.note(e, bytes.Clone(line))
	}
	if err := j.compact(); err != nil {
		return nil, nil, err
	}
	return j, kept, nil
}

// note keeps the newest line of each object.
func (j *journal) note(e entry, line []byte) {
	j.highest = max(j.highest, e.Highest)
	switch {
	case e.Machine != nil:
		j.lines[e.Machine.Ref] = line
		j.highest = max(j.highest, e.Machine.serial())
	case e.Folder != nil:
		j.lines[e.Folder.Ref] = line
		j.highest = max(j.highest, serial(e.Folder.Ref))
	case e.Gone != "":
		delete(j.lines, e.Gone)
	}
}

// put writes an entry. After the first failure nothing is written any more:
// the world stops rather than lose what it said was done.
func (j *journal) put(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	n, err := j.file.Write(append(line, '\n'))
	j.size += int64(n)
	if err != nil {
		j.err = fmt.Errorf("write the journal: %w", err)
		return j.err
	}
	j.note(e, line)
	if j.size > compactAt && j.size > 4*j.base {
		j.err = j.compact()
	}
	return j.err
}

// remove writes that an object is gone, if the journal knows it.
func (j *journal) remove(ref string) error {
	j.mu.Lock()
	_, known := j.lines[ref]
	j.mu.Unlock()
	if !known {
		return nil
	}
	return j.put(entry{Gone: ref})
}

// failed returns why nothing is written any more, or nil.
func (j *journal) failed() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// knows reports whether the journal has an entry for ref.
func (j *journal) knows(ref string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.lines[ref]
	return ok
}

// compact writes the newest lines to a new file and puts it in the place of
// the old one. The rename is what makes it count.
func (j *journal) compact() error {
	var body bytes.Buffer
	head, err := json.Marshal(entry{Highest: j.highest})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	body.Write(append(head, '\n'))
	for _, line := range j.lines {
		body.Write(line)
		body.WriteByte('\n')
	}
	fresh := filepath.Join(filepath.Dir(j.name), ".inventory.new")
	file, err := os.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("compact the journal: %w", err)
	}
	_, err = file.Write(body.Bytes())
	if err = errors.Join(err, file.Sync(), os.Rename(fresh, j.name)); err != nil {
		return errors.Join(fmt.Errorf("compact the journal: %w", err), file.Close())
	}
	if j.file != nil {
		_ = j.file.Close() // all of it is in the new file
	}
	j.file, j.size, j.base = file, int64(body.Len()), int64(body.Len())
	return nil
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = fs.ErrClosed
	}
	return errors.Join(j.file.Close(), j.lock.Close())
}
