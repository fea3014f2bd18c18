package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// pgBin is where Debian's package postgresql-15 puts its programs.
const pgBin = "/usr/lib/postgresql/15/bin"

// Postgres is a PostgreSQL of its own with every durability setting at its
// safe default. It refuses to run as root, so it runs as the user of the
// package then.
type Postgres struct {
	*Proc
	// URL is the connection string.
	URL string
}

// HavePostgres says what is missing to run one.
func HavePostgres() error {
	if _, err := os.Stat(filepath.Join(pgBin, "initdb")); err != nil {
		return errors.New("PostgreSQL 15 is not installed (Debian package postgresql-15)")
	}
	if os.Getuid() == 0 {
		if _, err := user.Lookup("postgres"); err != nil {
			return errors.New("PostgreSQL does not run as root and there is no user postgres (Debian package postgresql-15 makes it)")
		}
	}
	return nil
}

// StartPostgres makes an empty database and serves it.
func StartPostgres(tb testing.TB) *Postgres {
	tb.Helper()
	top := filepath.Join(Dir(tb), "postgres")
	data := filepath.Join(top, "data")
	if err := os.MkdirAll(top, 0o755); err != nil {
		tb.Fatal(err)
	}
	cred, err := postgresUser(top)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(Dir(tb), 0o711); err != nil { //nolint:gosec // the database's user must get through
		tb.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(pgBin, "initdb"), "-D", data, "-A", "trust", "-U", "yard") //nolint:noctx // ends by itself
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v\n%s", err, out)
	}
	port := Ports(tb, 1)[0]
	p := Start(tb, Spec{
		Name: "postgres", Path: filepath.Join(pgBin, "postgres"), Dir: top, User: cred,
		Args: []string{
			"-D", data, "-p", strconv.Itoa(port), "-k", top,
			"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300",
			"-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "full_page_writes=on",
		},
	})
	Wait(tb, "PostgreSQL", 20*time.Second, func() error {
		return run(filepath.Join(pgBin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(port))
	})
	return &Postgres{Proc: p, URL: fmt.Sprintf("postgres://yard@127.0.0.1:%d/postgres?sslmode=disable", port)}
}

func postgresUser(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // no other user is wanted
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil { //nolint:gosec // 32 bits fit
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
