package harness

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var dirs sync.Map // test name to folder

// Dir is the test's folder for logs and data. It lies under
// $YARD_E2E_DIR (default: the system's temporary folder) and is kept when
// the test fails, because the logs are the evidence.
func Dir(tb testing.TB) string {
	tb.Helper()
	if d, ok := dirs.Load(tb.Name()); ok {
		return d.(string) //nolint:errcheck // only strings are stored
	}
	name := strings.NewReplacer("/", "-", " ", "_").Replace(tb.Name())
	d, err := os.MkdirTemp(os.Getenv("YARD_E2E_DIR"), "yard-"+name+"-") //nolint:forbidigo,usetesting // a test's setting; the logs of a failed one are kept
	if err != nil {
		tb.Fatal(err)
	}
	dirs.Store(tb.Name(), d)
	tb.Cleanup(func() {
		dirs.Delete(tb.Name())
		if tb.Failed() {
			tb.Logf("logs and data are kept in %s", d)
			return
		}
		_ = os.RemoveAll(d) // a left-over fails nobody
	})
	return d
}

// Root is the checkout's top folder: where go.work stands.
func Root(tb testing.TB) string {
	tb.Helper()
	d, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; d != "/"; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.work")); err == nil {
			return d
		}
	}
	tb.Fatal("no go.work above the working folder")
	return ""
}

// Ports returns n free TCP ports of the loopback address. Another process
// may take one before its user does; at our rate that has not been seen.
func Ports(tb testing.TB, n int) []int {
	tb.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends at once
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close()                                     //nolint:errcheck // all are held until all are found
		ports = append(ports, l.Addr().(*net.TCPAddr).Port) //nolint:errcheck // a TCP listener
	}
	return ports
}

// Addr is port on loopback.
func Addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Answers reports whether something listens at addr.
func Answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second) //nolint:noctx // bounded by itself
	if err != nil {
		return false
	}
	_ = c.Close() // it answered
	return true
}
