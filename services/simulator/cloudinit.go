package simulator

import (
	"strconv"
	"strings"
)

// The guestinfo keys of coreos-cloudinit.
const (
	keyHostname  = "guestinfo.hostname"
	keyInterface = "guestinfo.interface."
)

// cloudInit is what coreos-cloudinit makes of a VM's guestinfo at every boot
// when there is no Ignition config: the host's name and its networks. What
// stands in the user data itself is not simulated.
func cloudInit(extra map[string]string) onDisk {
	d := onDisk{Ignited: true, CloudInit: true, Hostname: "localhost", Networks: map[string]string{}}
	if h := extra[keyHostname]; h != "" {
		d.Hostname = h
	}
	for i := 0; ; i++ {
		at := keyInterface + strconv.Itoa(i) + "."
		mac := extra[at+"mac"]
		if mac == "" {
			return d
		}
		var b strings.Builder
		b.WriteString("[Match]\nMACAddress=" + mac + "\n[Network]\n")
		if extra[at+"dhcp"] == "yes" {
			b.WriteString("DHCP=true\n")
		}
		for j := 0; ; j++ {
			address := extra[at+"ip."+strconv.Itoa(j)+".address"]
			if address == "" {
				break
			}
			b.WriteString("[Address]\nAddress=" + address + "\n")
		}
		d.Networks[networkDir+"00-"+strconv.Itoa(i)+".network"] = b.String()
	}
}
