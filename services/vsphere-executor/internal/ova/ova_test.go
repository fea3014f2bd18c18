package ova

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"yardmaster.dev/services/vsphere-executor/internal/ova/ovatest"
)

func open(b []byte) (*Package, error) { return Open(bytes.NewReader(b), int64(len(b))) }

func TestOpenReadsFlatcarsShape(t *testing.T) {
	t.Parallel()
	for _, o := range []ovatest.Options{{}, {SHA256: true}} {
		p, err := open(ovatest.Make(o))
		if err != nil {
			t.Fatalf("Open(%+v) = %v", o, err)
		}
		if err := p.Verify(t.Context()); err != nil {
			t.Errorf("Verify(%+v) = %v", o, err)
		}
		r, size, err := p.Open(ovatest.Disk)
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 4)
		if _, err := io.ReadFull(r, head); err != nil || string(head) != "KDMV" || size != 64<<10 {
			t.Errorf("the disk begins with %q (%v) and has %d bytes", head, err, size)
		}
		if p.Envelope.VirtualSystem.ID != "flatcar" || len(p.Envelope.Network.Networks) != 1 {
			t.Errorf("the descriptor was read as %+v", p.Envelope)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	good := ovatest.Make(ovatest.Options{})
	var many []ovatest.Entry
	for i := range maxEntries + 1 {
		many = append(many, ovatest.Entry{Name: strings.Repeat("a", i+1)})
	}
	for name, c := range map[string]struct {
		ova  []byte
		want string
	}{
		"nothing":          {nil, "holds no files"},
		"no tar":           {bytes.Repeat([]byte("x"), 1024), "as a tar archive"},
		"a truncated one":  {good[:len(good)/2], "ends in the middle of " + ovatest.Disk},
		"no descriptor":    {ovatest.Tar(ovatest.Entry{Name: "a.vmdk"}), "holds no .ovf"},
		"two descriptors":  {ovatest.Tar(ovatest.Entry{Name: "a.ovf"}, ovatest.Entry{Name: "b.ovf"}), "2 .ovf files"},
		"a way out":        {ovatest.Tar(ovatest.Entry{Name: "../a.ovf"}), "must not have"},
		"a name twice":     {ovatest.Tar(ovatest.Entry{Name: "a"}, ovatest.Entry{Name: "a"}), "two entries"},
		"too many entries": {ovatest.Tar(many...), "more than 64"},
		"no XML":           {ovatest.Make(ovatest.Options{OVF: "hello"}), "read " + ovatest.Descriptor},
		"no machine":       {ovatest.Make(ovatest.Options{OVF: `<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"/>`}), "does not describe one virtual machine"},
		"another size": {ovatest.Make(ovatest.Options{OVF: strings.NewReplacer(`13107200`, `1`, `ovf:size="65536"`, `ovf:size="7"`).
			Replace(descriptor(t, good))}), "says that " + ovatest.Disk + " has 7 bytes"},
		"a missing file": {ovatest.Make(ovatest.Options{OVF: strings.Replace(descriptor(t, good), ovatest.Disk, "other.vmdk", 1)}), `refers to "other.vmdk"`},
		"a manifest of words": {ovatest.Tar(ovatest.Entry{Name: "a.ovf", Body: []byte(descriptor(t, good))}, ovatest.Entry{Name: ovatest.Disk, Body: make([]byte, 64<<10)},
			ovatest.Entry{Name: "a.mf", Body: []byte("all is well\n")}), "line 1 is no digest"},
	} {
		if _, err := open(c.ova); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Open = %v; want %q", name, err, c.want)
		}
	}
}

func descriptor(t *testing.T, ova []byte) string {
	t.Helper()
	p, err := open(ova)
	if err != nil {
		t.Fatal(err)
	}
	return string(p.Descriptor)
}

func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	flipped := ovatest.Make(ovatest.Options{})
	flipped[len(flipped)-4096]++
	for name, c := range map[string]struct {
		ova  []byte
		want string
	}{
		"a flipped bit":  {flipped, ovatest.Disk + " is damaged"},
		"a wrong digest": {ovatest.Make(ovatest.Options{WrongDigest: true, SHA256: true}), "its SHA256 is"},
		"no manifest":    {ovatest.Make(ovatest.Options{NoManifest: true}), "has no manifest"},
		"a silent manifest": {ovatest.Tar(ovatest.Entry{Name: "a.ovf", Body: []byte(descriptor(t, flipped))},
			ovatest.Entry{Name: ovatest.Disk, Body: make([]byte, 64<<10)}, ovatest.Entry{Name: "a.mf"}), "leaves " + ovatest.Disk + " out"},
	} {
		p, err := open(c.ova)
		if err != nil {
			t.Errorf("%s: Open = %v", name, err)
			continue
		}
		if err := p.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Verify = %v; want %q", name, err, c.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(ovatest.Make(ovatest.Options{DiskBytes: 512}))
	f.Add(ovatest.Make(ovatest.Options{DiskBytes: 512, SHA256: true}))
	f.Add(ovatest.Tar(ovatest.Entry{Name: "a.ovf", Body: []byte(`<Envelope/>`)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := open(b)
		if err != nil {
			return
		}
		_ = p.Verify(t.Context())
		for _, file := range p.Files {
			r, size, err := p.Open(file.Name)
			if err != nil {
				t.Fatalf("Open(%q) = %v", file.Name, err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != size {
				t.Fatalf("%s has %d bytes (%v); %d were promised", file.Name, n, err, size)
			}
		}
	})
}
