package image

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/services/vsphere-executor/internal/image/imagetest"
)

// mirror is a folder of images that is served over HTTP, with a line that can
// be cut.
type mirror struct {
	dir  string
	url  string
	key  *imagetest.Key
	file string // the key's

	mu     sync.Mutex
	cuts   []int64 // after so many bytes each transfer is cut
	ranges []string
	plain  bool // knows no ranges
}

const image = "flatcar_production_vmware_ova.ova"

func newMirror(t *testing.T) *mirror {
	t.Helper()
	m := &mirror{dir: t.TempDir()}
	var err error
	if m.key, err = imagetest.NewKey("publisher", time.Now().Add(-time.Hour), 0); err != nil {
		t.Fatal(err)
	}
	m.file = filepath.Join(m.dir, "key.asc")
	write(t, m.file, m.key.Armored)
	s := httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(s.Close)
	m.url = s.URL
	return m
}

func write(t *testing.T, name string, body []byte) {
	t.Helper()
	if err := os.WriteFile(name, body, 0o600); err != nil {
		t.Fatal(err)
	}
}

// publish puts an image and its signature on the mirror.
func (m *mirror) publish(t *testing.T, body []byte, by *imagetest.Key) {
	t.Helper()
	signature, err := by.Sign(body, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(m.dir, image), body)
	write(t, filepath.Join(m.dir, image+".sig"), signature)
}

func (m *mirror) serve(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	limit := int64(-1)
	if strings.HasSuffix(r.URL.Path, ".ova") {
		m.ranges = append(m.ranges, r.Header.Get("Range"))
		if len(m.cuts) > 0 {
			limit, m.cuts = m.cuts[0], m.cuts[1:]
		}
		if m.plain {
			r.Header.Del("Range")
		}
	}
	m.mu.Unlock()
	if limit >= 0 {
		w = &cutter{w, limit}
	}
	http.ServeFile(w, r, filepath.Join(m.dir, filepath.Base(r.URL.Path)))
}

// cutter breaks the connection after so many bytes.
type cutter struct {
	http.ResponseWriter
	left int64
}

func (c *cutter) Write(b []byte) (int, error) {
	if int64(len(b)) > c.left {
		_, _ = c.ResponseWriter.Write(b[:c.left])
		panic(http.ErrAbortHandler)
	}
	c.left -= int64(len(b))
	return c.ResponseWriter.Write(b)
}

func (m *mirror) source() Source {
	return Source{Location: m.url + "/" + image, KeyFile: m.file, Fingerprint: m.key.Fingerprint}
}

func body(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(b)
	return b
}

func fetch(t *testing.T, s *Store, from Source) error {
	t.Helper()
	i, err := s.Fetch(t.Context(), "flatcar-1.2.3", from, nil)
	if err != nil {
		return err
	}
	return i.Close()
}

func wantFault(t *testing.T, err error, kind fault.Kind, reason fault.Reason, words string) {
	t.Helper()
	if f := fault.Of(err); err == nil || f.Kind != kind || f.Reason != reason || !strings.Contains(err.Error(), words) {
		t.Errorf("err = %v (%v, %v); want %v, %v and %q", err, f.Kind, f.Reason, kind, reason, words)
	}
}

func TestFetchChecksAndKeeps(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	content := body(3 << 20)
	m.publish(t, content, m.key)
	s := &Store{Dir: filepath.Join(t.TempDir(), "images")}
	for _, from := range []Source{m.source(), {Location: filepath.Join(m.dir, image), KeyFile: m.file, Fingerprint: strings.ToLower(m.key.Fingerprint)}} {
		var done, total int64
		i, err := s.Fetch(t.Context(), "flatcar-1.2.3", from, func(d, all int64) { done, total = d, all })
		if err != nil {
			t.Fatalf("Fetch(%s) = %v", from.Location, err)
		}
		got, err := io.ReadAll(io.NewSectionReader(i, 0, i.Size))
		if err != nil || !bytes.Equal(got, content) || done != i.Size || total != i.Size {
			t.Errorf("Fetch(%s) gave %d bytes (%v), progress %d of %d; want %d", from.Location, len(got), err, done, total, len(content))
		}
		if want := fmt.Sprintf("%x", sha256.Sum256(content)); i.Signer != m.key.Fingerprint || i.SHA256 != want {
			t.Errorf("signer %s, digest %s; want %s, %s", i.Signer, i.SHA256, m.key.Fingerprint, want)
		}
		if err := errors.Join(i.Close(), s.Remove("flatcar-1.2.3")); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(s.Dir); len(left) > 0 {
		t.Errorf("Remove left %v", left)
	}
}

func TestFetchHasOneAtATimeAndKeepsIt(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	m.publish(t, body(1<<10), m.key)
	s := &Store{Dir: t.TempDir()}
	i, err := s.Fetch(t.Context(), "flatcar-1.2.3", m.source(), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantFault(t, fetch(t, s, m.source()), fault.Transient, fault.ImageUnreachable, "another process")
	if err := errors.Join(i.Close(), fetch(t, s, m.source())); err != nil {
		t.Errorf("Fetch of what is there = %v", err)
	}
	if len(m.ranges) != 1 {
		t.Errorf("the image was asked for %d times; want once", len(m.ranges))
	}
}

func TestFetchGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	m.publish(t, body(4<<20), m.key)
	m.cuts = []int64{1 << 20, 1 << 20}
	s := &Store{Dir: t.TempDir()}
	if err := fetch(t, s, m.source()); err != nil {
		t.Fatal(err)
	}
	if len(m.ranges) != 3 || m.ranges[0] != "" || !strings.HasPrefix(m.ranges[1], "bytes=") || m.ranges[2] == m.ranges[1] {
		t.Errorf("asked for the ranges %q; want the rest each time", m.ranges)
	}
}

// A process was killed in the middle, another goes on; then the publisher has
// replaced the file meanwhile.
func TestFetchGoesOnInTheNextProcess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replaced, plain bool
		want            string
	}{
		"the same file":         {false, false, "bytes=1048576-"},
		"another file":          {true, false, "bytes=1048576-"},
		"a server of no ranges": {false, true, "bytes=1048576-"},
	} {
		m := newMirror(t)
		content := body(2 << 20)
		m.publish(t, content, m.key)
		m.plain = c.plain
		s := &Store{Dir: t.TempDir()}
		write(t, s.part("flatcar-1.2.3"), content[:1<<20])
		info, err := os.Stat(filepath.Join(m.dir, image))
		if err != nil {
			t.Fatal(err)
		}
		changed := info.ModTime()
		if c.replaced {
			changed = changed.Add(-time.Hour)
		}
		write(t, s.note("flatcar-1.2.3"), fmt.Appendf(nil, `{"location":%q,"validator":%q,"total":%d}`,
			m.source().Location, changed.UTC().Format(http.TimeFormat), len(content)))
		if err := fetch(t, s, m.source()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(m.ranges) != 1 || m.ranges[0] != c.want {
			t.Errorf("%s: asked for the ranges %q; want %q", name, m.ranges, c.want)
		}
	}
}

func TestFetchRefusesWhatIsNotTrusted(t *testing.T) {
	t.Parallel()
	stranger, err := imagetest.NewKey("stranger", time.Now().Add(-time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	old, err := imagetest.NewKey("old", time.Now().Add(-48*time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(body(1<<10)))
	for name, c := range map[string]struct {
		spoil func(t *testing.T, m *mirror, from *Source)
		words string
	}{
		"another image": {func(t *testing.T, m *mirror, _ *Source) {
			t.Helper()
			write(t, filepath.Join(m.dir, image), body(1<<11))
		}, "check the signature"},
		"another key": {func(t *testing.T, m *mirror, _ *Source) { t.Helper(); m.publish(t, body(1<<10), stranger) }, "check the signature"},
		"no signature": {func(t *testing.T, m *mirror, _ *Source) {
			t.Helper()
			write(t, filepath.Join(m.dir, image+".sig"), []byte("signed, the publisher"))
		}, "check the signature"},
		"a key that is not pinned": {func(_ *testing.T, _ *mirror, from *Source) { from.Fingerprint = stranger.Fingerprint }, "is not in the file, which holds"},
		"no key file":              {func(_ *testing.T, _ *mirror, from *Source) { from.KeyFile += "x" }, "read the key"},
		"an expired key": {func(t *testing.T, m *mirror, from *Source) {
			t.Helper()
			write(t, m.file, old.Binary)
			from.Fingerprint = old.Fingerprint
			signature, err := old.Sign(body(1<<10), time.Now().Add(-47*time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(m.dir, image+".sig"), signature)
		}, "expired"},
		"another digest":          {func(_ *testing.T, _ *mirror, from *Source) { from.SHA256 = strings.Repeat("0", 64) }, "has the SHA-256 " + sum},
		"unsigned without digest": {func(_ *testing.T, _ *mirror, from *Source) { from.Unsigned = true }, "no digest says what it is"},
	} {
		m := newMirror(t)
		m.publish(t, body(1<<10), m.key)
		from := m.source()
		c.spoil(t, m, &from)
		s := &Store{Dir: t.TempDir()}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantFault(t, fetch(t, s, from), fault.Permanent, fault.ImageUntrusted, c.words)
			if _, err := os.Stat(s.file("flatcar-1.2.3")); err == nil {
				t.Error("it was kept")
			}
		})
	}
}

func TestFetchTakesUnsignedByDigest(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	write(t, filepath.Join(m.dir, image), body(1<<10))
	s := &Store{Dir: t.TempDir()}
	if err := fetch(t, s, Source{Location: m.url + "/" + image, Unsigned: true, SHA256: fmt.Sprintf("%X", sha256.Sum256(body(1<<10)))}); err != nil {
		t.Error(err)
	}
}

func TestFetchSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	s := &Store{Dir: t.TempDir()}
	wantFault(t, fetch(t, s, m.source()), fault.Permanent, fault.ImageMissing, "404")
	from := m.source()
	from.Location = filepath.Join(m.dir, image)
	wantFault(t, fetch(t, s, from), fault.Permanent, fault.ImageMissing, image+".sig at the executor")
	from.Location = "http://127.0.0.1:1/x.ova"
	wantFault(t, fetch(t, s, from), fault.Transient, fault.ImageUnreachable, "connection refused")
}

func TestFetchGivesUpOnATruncatedImage(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	m.publish(t, body(1<<10), m.key)
	m.cuts = make([]int64, 100) // Go's client asks again by itself, too
	s := &Store{Dir: t.TempDir()}
	wantFault(t, fetch(t, s, m.source()), fault.Transient, fault.ImageUnreachable, "EOF")
	m.mu.Lock()
	m.cuts = nil
	m.mu.Unlock()
	if err := fetch(t, s, m.source()); err != nil {
		t.Errorf("once the line holds: %v", err)
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-1/2")
	f.Add("bytes */3")
	f.Fuzz(func(t *testing.T, text string) {
		first, total, ok := contentRange(text)
		if ok && (first < 0 || total <= first) {
			t.Errorf("contentRange(%q) = %d, %d", text, first, total)
		}
	})
}

// emptySubpacket is a signature packet whose hashed area holds a
// subpacket (RFC 9580, 5.2.3.7) without a body, into which parsers have indexed.
func emptySubpacket(kind byte) []byte {
	hashed := []byte{1, kind}
	body := append([]byte{4, 0x13, 1, 8, 0, byte(len(hashed))}, hashed...)
	body = append(body, 0, 0, 0, 0, 0, 1, 1)
	return append([]byte{0xc2, byte(len(body))}, body...)
}

func TestMalformedKeysAreNoPanic(t *testing.T) {
	t.Parallel()
	for kind := range byte(128) {
		if _, err := pinned(emptySubpacket(kind), "aa"); err == nil {
			t.Errorf("subpacket %d: a key was found", kind)
		}
	}
	if err := guarded(func() error { panic("index out of range") }); err == nil || !strings.Contains(err.Error(), "malformed OpenPGP data") {
		t.Errorf("a panic of the reader: %v", err)
	}
}

// FuzzTrust gives the OpenPGP reader what it may meet: nothing that is not the
// publisher's signature is ever accepted.
func FuzzTrust(f *testing.F) {
	key, err := imagetest.NewKey("publisher", time.Unix(1e9, 0), 0)
	if err != nil {
		f.Fatal(err)
	}
	other, err := key.Sign([]byte("another image"), time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key.Armored, other)
	f.Add(emptySubpacket(4), emptySubpacket(4))
	f.Add(key.Binary, []byte("-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----"))
	f.Fuzz(func(t *testing.T, file, signature []byte) {
		k, err := pinned(file, key.Fingerprint)
		if err != nil {
			return
		}
		if signer, err := (&trust{key: k, signature: signature}).verify(strings.NewReader("image"), "x"); err == nil {
			t.Errorf("a signature that nobody made is %s's", signer)
		}
	})
}
