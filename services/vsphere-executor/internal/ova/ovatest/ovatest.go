// Package ovatest makes small OVAs of Flatcar's shape for tests.
package ovatest

import (
	"archive/tar"
	"bytes"
	"crypto/sha1" //nolint:gosec // one of the digests that manifests have
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
)

// The names of the OVA's entries.
const (
	Descriptor = "flatcar_production_vmware_ova.ovf"
	Manifest   = "flatcar_production_vmware_ova.mf"
	Disk       = "flatcar_production_vmware_ova_image.vmdk"
)

// Options shape an OVA; the zero value makes a good one.
type Options struct {
	// DiskBytes is the size of the disk file, default 64 KiB; its content
	// looks like a disk's from afar. Disk replaces it.
	DiskBytes int
	Disk      []byte
	// SHA256 picks the manifest's digests; else SHA-1.
	SHA256 bool
	// WrongDigest makes the manifest lie about the disk, NoManifest leaves it
	// out.
	WrongDigest bool
	NoManifest  bool
	// OVF replaces the descriptor.
	OVF string
}

// Entry is one file of a tar.
type Entry struct {
	Name string
	Body []byte
}

// Make makes an OVA. Equal options give equal bytes.
func Make(o Options) []byte { return Tar(Entries(o)...) }

// Entries are the OVA's files, in order.
func Entries(o Options) []Entry {
	if o.DiskBytes == 0 {
		o.DiskBytes = 64 << 10
	}
	disk := make([]byte, o.DiskBytes)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(disk) // it never fails
	copy(disk, "KDMV")
	if o.Disk != nil {
		disk = o.Disk
	}
	descriptor := o.OVF
	if descriptor == "" {
		descriptor = fmt.Sprintf(ovf, Disk, len(disk))
	}
	entries := []Entry{{Descriptor, []byte(descriptor)}}
	if !o.NoManifest {
		sum := sumOf(o, disk)
		if o.WrongDigest {
			sum = sumOf(o, []byte("another disk"))
		}
		algorithm := "SHA1"
		if o.SHA256 {
			algorithm = "SHA256"
		}
		text := fmt.Sprintf("%s(%s)= %s\n%s(%s)= %s\n", algorithm, Descriptor, sumOf(o, []byte(descriptor)), algorithm, Disk, sum)
		entries = append(entries, Entry{Manifest, []byte(text)})
	}
	return append(entries, Entry{Disk, disk})
}

func sumOf(o Options, b []byte) string {
	if o.SHA256 {
		return fmt.Sprintf("%x", sha256.Sum256(b))
	}
	return fmt.Sprintf("%x", sha1.Sum(b)) //nolint:gosec // as above
}

// Tar makes an archive of plain files.
func Tar(entries ...Entry) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		// Writing into a buffer does not fail.
		_ = w.WriteHeader(&tar.Header{Name: e.Name, Size: int64(len(e.Body)), Mode: 0o644, Format: tar.FormatUSTAR})
		_, _ = w.Write(e.Body)
	}
	_ = w.Close()
	return out.Bytes()
}

const ovf = `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <References>
    <File ovf:href="%s" ovf:id="file1" ovf:size="%d"/>
  </References>
  <DiskSection>
    <Info>Virtual disk information</Info>
    <Disk ovf:capacity="13107200" ovf:capacityAllocationUnits="byte * 2^10" ovf:diskId="vmdisk1" ovf:fileRef="file1"
      ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>The list of logical networks</Info>
    <Network ovf:name="VM Network"><Description>The VM Network network</Description></Network>
  </NetworkSection>
  <VirtualSystem ovf:id="flatcar">
    <Info>A virtual machine</Info>
    <Name>flatcar</Name>
    <OperatingSystemSection ovf:id="100" vmw:osType="other3xLinux64Guest">
      <Info>The kind of installed guest operating system</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection ovf:transport="com.vmware.guestInfo">
      <Info>Virtual hardware requirements</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>flatcar</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>
      </System>
      <Item>
        <rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits>
        <rasd:Description>Number of Virtual CPUs</rasd:Description>
        <rasd:ElementName>2 virtual CPU(s)</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>2</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
        <rasd:Description>Memory Size</rasd:Description>
        <rasd:ElementName>2048MB of memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>2048</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:Address>0</rasd:Address>
        <rasd:Description>SCSI Controller</rasd:Description>
        <rasd:ElementName>SCSI Controller 0</rasd:ElementName>
        <rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType>
        <rasd:ResourceType>6</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:ElementName>Hard Disk 1</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource>
        <rasd:InstanceID>8</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>2</rasd:AddressOnParent>
        <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
        <rasd:Connection>VM Network</rasd:Connection>
        <rasd:ElementName>Network adapter 1</rasd:ElementName>
        <rasd:InstanceID>12</rasd:InstanceID>
        <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType>
      </Item>
    </VirtualHardwareSection>
    <ProductSection>
      <Info>Information about the installed software</Info>
      <Product>Flatcar Container Linux</Product>
      <Property ovf:key="guestinfo.hostname" ovf:type="string" ovf:userConfigurable="true" ovf:value=""/>
      <Property ovf:key="guestinfo.ignition.config.data" ovf:type="string" ovf:userConfigurable="true" ovf:value=""/>
      <Property ovf:key="guestinfo.ignition.config.data.encoding" ovf:type="string" ovf:userConfigurable="true" ovf:value=""/>
    </ProductSection>
  </VirtualSystem>
</Envelope>
`
