package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Volume is an ext4 of its own on a loop device, whose power can be cut:
// everything that was not synced is gone afterwards.
type Volume struct {
	tb         testing.TB
	image, mnt string
	mounted    bool
}

// EXT4_IOC_SHUTDOWN and its flag "do not flush the journal"; see
// fs/ext4/ext4.h of the kernel. x/sys does not name them.
const (
	ext4Shutdown   = 0x8004587d
	ext4NoLogFlush = 2
)

// NewVolume makes and mounts a volume. The error says what the machine
// lacks (root, loop devices).
func NewVolume(tb testing.TB, name string, megabytes int64) (*Volume, error) {
	tb.Helper()
	v := &Volume{
		tb:    tb,
		image: filepath.Join(Dir(tb), name+".img"),
		mnt:   filepath.Join(Dir(tb), name),
	}
	if err := os.MkdirAll(v.mnt, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(v.image)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(megabytes << 20); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if err := run("mkfs.ext4", "-q", "-F", v.image); err != nil {
		return nil, err
	}
	if err := v.mount(); err != nil {
		return nil, err
	}
	tb.Cleanup(func() {
		if err := v.umount(); err != nil {
			tb.Errorf("%v", err)
		}
	})
	return v, nil
}

// Path is where the volume is mounted.
func (v *Volume) Path() string { return v.mnt }

// Cut takes the power away: from now on every write fails and what was not
// synced is lost. The caller then kills whoever writes there and calls
// Restore.
func (v *Volume) Cut() error {
	d, err := os.Open(v.mnt)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // only an ioctl goes through it
	if err := unix.IoctlSetPointerInt(int(d.Fd()), ext4Shutdown, ext4NoLogFlush); err != nil {
		return fmt.Errorf("shut down %s: %w", v.mnt, err)
	}
	return nil
}

// Restore mounts the volume again; ext4 replays its journal.
func (v *Volume) Restore() error {
	if err := v.umount(); err != nil {
		return err
	}
	return v.mount()
}

func (v *Volume) mount() error {
	if err := run("mount", "-o", "loop", v.image, v.mnt); err != nil {
		return err
	}
	v.mounted = true
	// Whoever else has this mount (a name space that copied it) keeps the
	// file system that was shut down alive, and we would get it back.
	probe := filepath.Join(v.mnt, ".probe")
	if err := os.WriteFile(probe, nil, 0o600); err != nil {
		return fmt.Errorf("%s cannot be written after it was mounted; does another process hold it? %w", v.mnt, err)
	}
	return os.Remove(probe)
}

func (v *Volume) umount() error {
	if !v.mounted {
		return nil
	}
	if err := run("umount", v.mnt); err != nil {
		return err
	}
	v.mounted = false
	return nil
}

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput() //nolint:noctx // mount and mkfs end by themselves
	if err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return nil
}
