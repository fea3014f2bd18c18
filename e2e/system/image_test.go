//go:build e2e

package system

import (
	"archive/tar"
	"bytes"
	"crypto/sha1" //nolint:gosec // what the manifest of an OVA has
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"yardmaster.dev/e2e/harness"
	"yardmaster.dev/e2e/realyard"
	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

const (
	imageVersion  = "4700.1.0"
	imageTemplate = "flatcar-" + imageVersion
)

// An image is imported while whichever executor is at it is killed, again and
// again: no byte is fetched twice that was kept, the template comes to be, once,
// and a fleet is made from it.
func TestImageUnderKills(t *testing.T) {
	harness.NeedSimulator(t, "it imports images of its own making, which do not boot")
	y := newYard(t)
	image := ova(2 << 20)
	mirror := newMirror(t, image)
	y.Persist("image", "import", "--site", realyard.Site, "--version", imageVersion,
		"--from", mirror.URL+"/"+imageTemplate+".ova", "--unsigned", "--sha256", fmt.Sprintf("%x", sha256.Sum256(image)))
	for fetches := 1; fetches <= 3; fetches++ {
		harness.Wait(t, "the next fetch", time.Minute, func() error {
			if n := len(mirror.offsets()); n < fetches {
				return fmt.Errorf("%d fetches", n)
			}
			return nil
		})
		time.Sleep(time.Duration(300+rand.IntN(1500)) * time.Millisecond) // so long this one lives
		y.killExecutors()
	}
	harness.Wait(t, "the upload", time.Minute, func() error {
		if i := y.image(t); i.GetStep() != "uploading" && i.GetState() != "ready" {
			return fmt.Errorf("it is %s: %s", i.GetState(), i.GetStep())
		}
		return nil
	})
	y.killExecutors()
	harness.Wait(t, "the template", 2*time.Minute, func() error {
		if i := y.image(t); i.GetState() != "ready" {
			return fmt.Errorf("it is %s: %s %s", i.GetState(), i.GetStep(), i.GetMessage())
		}
		return nil
	})
	from := mirror.offsets()
	t.Logf("fetched from the offsets %v", from)
	for i := 1; i < len(from); i++ {
		if from[i] <= from[i-1] {
			t.Errorf("a fetch began at %d after one that had begun at %d", from[i], from[i-1])
		}
	}
	vms, err := y.VCenter.VMs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, vm := range vms {
		if vm.Name == imageTemplate && !vm.Template {
			t.Errorf("a half-made VM was left: %s", vm.Ref)
		}
	}
	y.Apply(strings.ReplaceAll(realyard.FleetOf(t, "fresh", 3, ""), "4593.2.5", imageVersion))
	y.Ready("fresh", 3, time.Minute)
	y.Settled(time.Minute)
}

func (y *yard) killExecutors() {
	for _, p := range y.Executors {
		p.Kill()
	}
	for _, p := range y.Executors {
		p.Start()
	}
}

// image is the image as the gateway shows it.
func (y *yard) image(t *testing.T) *ymv1.ImageView {
	t.Helper()
	res, err := y.API.ListImages(t.Context(), connect.NewRequest(&ymv1.ListImagesRequest{}))
	if err != nil {
		return nil // the next look is soon
	}
	for _, i := range res.Msg.GetImages() {
		if i.GetName() == imageTemplate {
			return i
		}
	}
	return nil
}

// mirror serves one image, slowly.
type mirror struct {
	*httptest.Server
	mu   sync.Mutex
	from []int64
}

func newMirror(t *testing.T, image []byte) *mirror {
	t.Helper()
	m := &mirror{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var first int64
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first) // none is from the start
		m.mu.Lock()
		m.from = append(m.from, first)
		m.mu.Unlock()
		w.Header().Set("Etag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, &slow{bytes.NewReader(image)})
	}))
	t.Cleanup(m.CloseClientConnections)
	t.Cleanup(m.Close)
	return m
}

func (m *mirror) offsets() []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.from
}

// slow gives some bytes at a time.
type slow struct{ *bytes.Reader }

func (s *slow) Read(b []byte) (int, error) {
	time.Sleep(50 * time.Millisecond) // the line is as slow as that
	return s.Reader.Read(b[:min(len(b), 16<<10)])
}

// WriteTo hides the reader's own, which is not slow.
func (s *slow) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{s}) }

// ova makes an image of one disk.
func ova(size int) []byte {
	disk := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(disk) // it never fails
	copy(disk, "KDMV")
	descriptor := fmt.Sprintf(ovf, size)
	manifest := fmt.Sprintf("SHA1(i.ovf)= %x\nSHA1(i.vmdk)= %x\n", sha1.Sum([]byte(descriptor)), sha1.Sum(disk)) //nolint:gosec // as above
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range []struct {
		name string
		body []byte
	}{{"i.ovf", []byte(descriptor)}, {"i.mf", []byte(manifest)}, {"i.vmdk", disk}} {
		// Writing into a buffer does not fail.
		_ = w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.body)), Mode: 0o644})
		_, _ = w.Write(f.body)
	}
	_ = w.Close()
	return out.Bytes()
}

const ovf = `<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References><File ovf:href="i.vmdk" ovf:id="f" ovf:size="%d"/></References>
  <DiskSection><Info/><Disk ovf:capacity="13107200" ovf:capacityAllocationUnits="byte * 2^10" ovf:diskId="d" ovf:fileRef="f"/></DiskSection>
  <NetworkSection><Info/><Network ovf:name="VM Network"/></NetworkSection>
  <VirtualSystem ovf:id="i"><Info/><VirtualHardwareSection><Info/>
    <System><vssd:ElementName>x</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType></System>
    <Item><rasd:ElementName>cpus</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
    <Item><rasd:ElementName>memory</rasd:ElementName><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>2048</rasd:VirtualQuantity></Item>
    <Item><rasd:ElementName>scsi</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
    <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>disk</rasd:ElementName><rasd:HostResource>ovf:/disk/d</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
    <Item><rasd:Connection>VM Network</rasd:Connection><rasd:ElementName>card</rasd:ElementName><rasd:InstanceID>5</rasd:InstanceID><rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
  </VirtualHardwareSection></VirtualSystem>
</Envelope>`
